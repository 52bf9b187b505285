"""Runs whose odd sites are integrated out: exact answers, the ladder, and what goes with them."""

import re
import shutil

import jax
import numpy as np
import pytest

from tests.oracles import ChainOracle, FreeFieldOracle
from tests.runs.support import RING
from trivmap import observables
from trivmap.cards.build import build_action, build_target
from trivmap.cards.card import RunCard
from trivmap.diagnostics import log_z
from trivmap.errors import InputError
from trivmap.loading import Run
from trivmap.runs import pipeline, sampling
from trivmap.runs.pipeline import load_flow, measure
from trivmap.runs.plan import Plan
from trivmap.runs.train import train
from trivmap.support import Support

MAP = {"kind": "continuous", "steps": 4, "kernel": {"radius": 2, "masses": [1.0]}, "features": {"neighbors": [1.0]}}
LADDER = [{"lattice": [4], "action": {"beta": 0.7}, "steps": 5, "batch": 64}]
CARD = RING | {
    "model": {"sites": "even", "base": {"kind": "free-field"}, "maps": [MAP]},
    "training": RING["training"] | {"ladder": LADDER},
    "sampling": {"chains": 2, "proposals": 40_000, "save_fields": True, "thin": 200},
    "measure": {"stages": {"proposals": 256}},
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    run = pipeline.create(RunCard.from_data(CARD), tmp_path_factory.mktemp("even") / "run")
    train(run)
    sampling.sample(run)
    return run, measure(run)


def near(summary, name, exact):
    found = summary["observables"][name]
    assert found["error"] < 0.05 * abs(exact)
    assert abs(found["value"] - exact) < 3 * found["error"]


def test_chain_against_the_transfer_matrix(measured):
    run, summary = measured
    oracle = ChainOracle(8, *build_action(run.card()).coefficients)
    assert summary["sampling"]["acceptance"]["value"] > 0.94
    assert summary["log_z"]["error"] < 0.01
    assert abs(summary["log_z"]["value"] - oracle.log_z) < 3 * summary["log_z"]["error"]
    near(summary, "phi2", oracle.phi2)
    near(summary, "susceptibility", 8 * oracle.magnetization_squared)
    near(summary, "schwinger_dyson", 1.0)


def test_log_z_includes_its_shift_by_finer_integration(measured):
    run, summary = measured
    with Run(run).samples as samples:
        plain = log_z(samples["log_weight"][:, samples.warmup :])
    shift = summary["sampling"]["log_z_shift"]
    assert shift["value"] != 0 and 0 < shift["error"] < summary["log_z"]["error"]
    assert summary["log_z"]["value"] == pytest.approx(plain.value + shift["value"], abs=1e-12)
    rounding = summary["sampling"]["rounding"]["mean"]
    assert summary["log_z"]["error"] == pytest.approx(np.linalg.norm([plain.error, rounding, shift["error"]]), rel=1e-9)


def test_stages_and_stored_fields_have_all_sites(measured):
    run, summary = measured
    stages = Run(run).stages.stages
    at_zero = [stage.two_point[0] for stage in stages]
    assert at_zero[-1] == pytest.approx(summary["observables"]["phi2"]["value"], rel=0.1)
    plan = Plan(run.card())
    flow, target, card = load_flow(run, plan), plan.target, plan.card
    assert flow.support is Support.EVEN
    assert target == build_target(card, plan.action) != plan.action
    with Run(run).samples as samples:
        fields = samples["fields"]
    spread = fields.std(axis=(0, 1))
    assert np.all(np.abs(spread / spread.mean() - 1) < 0.25)


def test_configurations_of_a_run_are_whole(measured):
    run, _ = measured
    loaded = Run(run)
    fields, log_weights = loaded.sample(jax.random.key(1), 20_000)
    weights = np.exp(np.asarray(log_weights - log_weights.max()))
    oracle = ChainOracle(8, *build_action(run.card()).coefficients)
    for color in (0, 1):
        phi2 = np.mean(np.asarray(fields)[:, color::2] ** 2, axis=1)
        mean = weights @ phi2 / weights.sum()
        error = np.sqrt(np.sum((weights * (phi2 - mean)) ** 2)) / weights.sum()
        assert abs(mean - oracle.phi2) < 3.5 * error < 0.02
    assert np.isfinite(observables.measure(loaded.action, fields[0])["phi2"])
    first, _ = loaded.sample(jax.random.key(1), 3)
    np.testing.assert_allclose(first, fields[:3], rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match="only its even sites"):
        observables.measure(loaded.action, loaded.flow.sample(jax.random.key(1))[0])
    with pytest.raises(InputError, match="n must be at least 1"):
        loaded.sample(jax.random.key(1), 0)


def test_free_field_needs_no_training(tmp_path):
    data = {key: CARD[key] for key in ("seed", "sampling", "measure")}
    data |= {"lattice": [4, 4], "action": {"kind": "free", "m_sq": 0.25}, "dtype": "float64"}
    data["model"] = {"sites": "even", "base": {"kind": "free-field"}, "maps": []}
    run = pipeline.create(RunCard.from_data(data), tmp_path / "free")
    sampling.sample(run)
    summary = measure(run)
    oracle = FreeFieldOracle((4, 4), -1.0, 2.125)
    assert summary["sampling"]["acceptance"]["value"] > 0.9999
    assert summary["log_z"]["value"] == pytest.approx(oracle.log_z, abs=1e-8)
    near(summary, "phi2", float(oracle.propagator.flat[0]))


@pytest.mark.parametrize(
    "section",
    [
        {"kind": "trivialized-hmc", "chains": 8, "proposals": 8000, "warmup": 100},
        {"kind": "annealed", "steps": 4, "updates": 1, "chains": 2, "proposals": 40_000},
    ],
)
def test_other_samplers_through_the_flow(section, tmp_path):
    """They too draw the odd sites, of a flow that is far from the target: its base alone."""
    data = {key: value for key, value in CARD.items() if key != "training"} | {"sampling": section}
    data["model"] = CARD["model"] | {"maps": []}
    run = pipeline.create(RunCard.from_data(data), tmp_path / "run")
    sampling.sample(run)
    summary = measure(run)
    oracle = ChainOracle(8, *build_action(run.card()).coefficients)
    near(summary, "phi2", oracle.phi2)
    near(summary, "susceptibility", 8 * oracle.magnetization_squared)
    near(summary, "schwinger_dyson", 1.0)
    if section["kind"] == "annealed":
        assert abs(summary["log_z"]["value"] - oracle.log_z) < 3 * summary["log_z"]["error"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"base": {"kind": "gaussian"}}}, r"model\.base: gaussian has no even sites"),
        ({"model": {"maps": [MAP, {"kind": "rescale"}]}}, "chain: some of its maps act on the even sites alone"),
        ({"model": {"maps": [{"kind": "rescale"}]}}, "give both the same sites"),
        ({"action": {"kind": "phi4", "notation": "standard", "m_sq": -300.0, "g": 1.0}}, "too narrow"),
        ({"lattice": [7], "training": {"ladder": []}}, "even"),
    ],
)
def test_what_does_not_go_with_it_is_refused(changes, message, tmp_path):
    data = {key: value | changes.get(key, {}) if isinstance(value, dict) else value for key, value in CARD.items()}
    if "action" in changes:
        data |= {"action": changes["action"], "training": CARD["training"] | {"ladder": []}}
    data["lattice"] = changes.get("lattice", CARD["lattice"])
    with pytest.raises(InputError, match=message):
        pipeline.create(RunCard.from_data(data), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_second_run_in_the_process_uses_the_programs_of_the_first(measured, tmp_path, caplog):
    """JAX keeps every program of a jitted function: another one for each run would fill the memory."""
    run, _ = measured
    for number, seed in enumerate((11, 12)):
        data = CARD | {"seed": seed, "sampling": {"chains": 2, "proposals": 4000}}
        again = pipeline.create(RunCard.from_data(data), tmp_path / str(seed))
        shutil.copytree(run.model_path, again.model_path)
        caplog.clear()
        with jax.log_compiles():
            sampling.sample(again)
        compiled = [re.findall(r"^Compiling jit\((\w+)\)", record.getMessage()) for record in caplog.records]
        names = {name for found in compiled for name in found}
        assert "many" in names
        assert not number or "_evaluate" not in names
