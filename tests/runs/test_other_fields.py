"""Runs of theories whose fields are not one real number at every site."""

import numpy as np
import pytest

from tests.oracles import FreeFieldOracle, XYChainOracle
from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.loading import Run
from trivmap.observables.catalog import CATALOG
from trivmap.reports.collect import collect
from trivmap.reports.report import write_report
from trivmap.runs import pipeline, sampling

XY = {
    "seed": 4,
    "lattice": [8],
    "action": {"kind": "xy", "beta": 1.3},
    "dtype": "float64",
    "sampling": {"kind": "hmc", "chains": 8, "warmup": 300, "proposals": 40_000, "save_fields": True, "thin": 50},
}
VECTOR = """
from trivmap.actions import AbstractAction, FreeScalar
from trivmap.spaces import Real

class TwoFields(AbstractAction):
    scalar: FreeScalar

    def __init__(self, m_sq: float, dimension: int):
        self.scalar = FreeScalar(m_sq, dimension)

    def __call__(self, field):
        return self.scalar(field[0]) + self.scalar(field[1])

    space = Real(2)

    @property
    def symmetries(self):
        return frozenset({"z2", "translations", "point-group"})
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    run = pipeline.create(RunCard.from_data(XY), tmp_path_factory.mktemp("xy") / "run")
    sampling.sample(run)
    return run, pipeline.measure(run)


def near(summary, name, exact):
    found = summary["observables"][name]
    assert 0 < found["error"] < 0.03
    assert abs(found["value"] - exact) < 4 * found["error"], name


def test_a_run_of_the_xy_ring_against_its_transfer_matrix(measured):
    _, summary = measured
    oracle = XYChainOracle(8, 1.3)
    near(summary, "ising_energy", oracle.energy)
    near(summary, "action_density", -1.3 * oracle.energy)
    near(summary, "susceptibility", oracle.susceptibility)
    near(summary, "schwinger_dyson_of_neighbors", 0.0)
    assert summary["sampling"]["diagnostics"]["irreversibility"] < 1e-9
    assert summary["sampling"]["r_hat"] < 1.02
    assert {"phi2", "phi4", "magnetization", "schwinger_dyson"}.isdisjoint(summary["observables"])


def test_its_stored_fields_are_angles_of_the_same_ensemble(measured):
    run, _ = measured
    with Run(run).samples as samples:
        fields = np.asarray(samples["fields"])
    assert fields.shape == (8, 100, 8) and np.all(np.abs(fields) <= np.pi)
    energy = np.cos(fields - np.roll(fields, -1, axis=-1)).mean()
    assert energy == pytest.approx(XYChainOracle(8, 1.3).energy, abs=0.03)


def test_its_report_shows_the_identity_and_the_order_parameter(measured):
    run, _ = measured
    write_report(run.root)
    data = collect(run)
    assert data.chain is not None and data.chain.order == "abs_magnetization"
    text = (run.root / "report.html").read_text()
    assert CATALOG["schwinger_dyson_of_neighbors"].short in text and "Distribution of |m|" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampling": {"kind": "cluster", "proposals": 4000}}, "XY is not of this form; use HMC"),
        ({"sampling": {"kind": "annealed", "proposals": 4000}}, "coefficients"),
        (
            {
                "model": {"base": {"kind": "gaussian"}, "maps": [{"kind": "rescale"}]},
                "training": {"steps": 2, "batch": 8, "optimizer": {"kind": "adam", "learning_rate": 1e-3}},
                "sampling": {"proposals": 4000},
            },
            "flow: its fields are one real number per site, and those of XY are angles; sample this action without",
        ),
        ({"model": {"base": {"kind": "free-field"}, "maps": []}, "sampling": {"proposals": 4000}}, "coefficients"),
    ],
)
def test_what_needs_real_numbers_is_refused(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        pipeline.create(RunCard.from_data(XY | changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_users_theory_of_two_fields(tmp_path, monkeypatch):
    (tmp_path / "two_fields_module.py").write_text(VECTOR)
    monkeypatch.syspath_prepend(tmp_path)
    action = {"kind": "two_fields_module:TwoFields", "m_sq": 0.5}
    settings = XY["sampling"] | {"fourier_mass": 0.5}
    run = pipeline.create(RunCard.from_data(XY | {"action": action, "sampling": settings}), tmp_path / "run")
    sampling.sample(run)
    summary = pipeline.measure(run)
    oracle = FreeFieldOracle((8,), -1.0, 1.25)
    near(summary, "phi2", 2 * oracle.propagator[0])
    near(summary, "ising_energy", 2 * oracle.propagator[1])
    near(summary, "schwinger_dyson", 1.0)
    with Run(run).samples as samples:
        assert samples["fields"].shape[2:] == (2, 8)
