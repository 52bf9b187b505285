"""Other couplings from one run, compared with the action itself and with the exact free field."""

import jax
import numpy as np
import pytest

import trivmap
from trivmap import Lattice, observables
from trivmap.actions import XY, Phi4
from trivmap.errors import InputError
from trivmap.runs import reweighting

LATTICE = Lattice([4, 6])
HERE = Phi4.from_couplings("bosetti2015", 2, beta=0.5, lam=0.5)
THERE = Phi4.from_couplings("bosetti2015", 2, beta=0.55, lam=0.4)


@pytest.fixture(scope="module")
def fields():
    return jax.random.normal(jax.random.key(0), (50, *LATTICE.shape), float)


def test_measurements_at_other_couplings(fields):
    here = {name: np.asarray(each) for name, each in jax.vmap(lambda f: observables.measure(HERE, f))(fields).items()}
    there = jax.vmap(lambda f: observables.measure(THERE, f))(fields)
    change = reweighting.difference(HERE, THERE, LATTICE)
    moved = reweighting._there(here, change, LATTICE)
    assert moved.keys() == there.keys()
    for name, values in there.items():
        np.testing.assert_allclose(moved[name], values, rtol=1e-12, atol=1e-12, err_msg=name)
    log_weight = reweighting._moved(np.zeros(50), here, change)
    expected = jax.vmap(HERE)(fields) - jax.vmap(THERE)(fields)
    np.testing.assert_allclose(log_weight, expected, rtol=1e-12, atol=1e-11)


def test_an_action_without_coefficients():
    with pytest.raises(InputError, match="has no coefficients"):
        reweighting.difference(XY(1.0, LATTICE.dimension), HERE, LATTICE)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reweighting") / "run"
    return trivmap.run(
        "free-L8",
        folder,
        lattice=[4, 4],
        action={"m_sq": 1.0},
        training={"steps": 2, "evaluate": {"proposals": 4096}},
        sampling={"proposals": 16000},
        measure={"stages": {"proposals": 64}},
    )


@pytest.mark.slow
class TestRun:
    def test_free_field(self, run):
        there = run.reweight(m_sq=1.1)
        for source in (there.chain, there.reweighted):
            found = source["susceptibility"]
            assert abs(found.value - 1 / 1.1) < 4 * found.dvalue < 0.1
        assert abs(there["schwinger_dyson"].value - 1) < 4 * there["schwinger_dyson"].dvalue
        assert "susceptibility" in repr(there) and "<table>" in there._repr_html_()

    def test_too_far_away(self, run):
        there = run.reweight(m_sq=30.0)
        assert not there.summary() and there.untrusted

    def test_derivative(self, run):
        # d log Z / d m_sq = -V <phi^2> / 2, a sum over momenta.
        khat = run.action.full and Lattice([4, 4]).momentum_squared
        exact = -0.5 * float(np.sum(1 / (khat + 1.0)))
        found = run.derivative("m_sq")
        assert abs(found.value - exact) < 4 * found.dvalue < 0.1 * abs(exact)

    def test_withheld_by_sampling(self, run):
        before = run.summary["untrusted"]
        assert run.reweight().summary()
        run.directory.update_summary(untrusted=before | {"probe": "a region is missing"})
        try:
            there = run.reweight(m_sq=1.1)
        finally:
            run.directory.update_summary(untrusted=before)
        assert not there.summary() and not there.reweighted and "a region is missing" in repr(there)

    def test_samples_that_are_not_complete(self, run):
        before = run.summary["sampling"]
        run.directory.update_summary(sampling=before | {"proposals": 32000})
        try:
            with pytest.raises(InputError, match="sampling is not finished"):
                run.reweight(m_sq=1.1)
        finally:
            run.directory.update_summary(sampling=before)

    @pytest.mark.filterwarnings("error")
    def test_precision_of_the_session(self, run):
        expected = run.reweight(m_sq=1.1).summary()
        with jax.enable_x64(False):
            assert run.reweight(m_sq=1.1).summary() == expected

    def test_refusals(self, run):
        with pytest.raises(InputError, match="'beta' is no coupling of this action"):
            run.derivative("beta")
        with pytest.raises(InputError, match="beta"):
            run.reweight(beta=0.3)

    def test_run_reads_well(self, run):
        assert "lattice [4, 4]" in repr(run) and "susceptibility" in repr(run)
        assert run._repr_html_().startswith("<p>Run(")

    def test_the_same_call_continues(self, run, monkeypatch, tmp_path):
        before = run.summary
        again = trivmap.run(run.card.to_data(), run.directory.root)
        assert again.summary == before


@pytest.mark.slow
def test_derivative_without_a_quartic_term(tmp_path):
    # A quartic coupling below zero has no integral: the derivative comes from above. Here d log Z = -V <phi^4>.
    action = {"kind": "phi4", "notation": "albergo2019", "m_sq": 0.5, "lam": 0.0}
    sampling = {"kind": "hmc", "proposals": 8000}
    run = trivmap.run({"lattice": [4, 4], "action": action, "sampling": sampling}, tmp_path / "run")
    phi2 = np.mean(1 / (2 * (Lattice([4, 4]).momentum_squared + 0.5)))
    found = run.derivative("lam")
    assert abs(found.value + 16 * 3 * phi2**2) < 4 * found.dvalue < 0.3 * 16 * 3 * phi2**2
    assert abs(run.derivative("m_sq").value + 16 * phi2) < 4 * run.derivative("m_sq").dvalue
