"""What speaks against averages over a history: every case here once passed for a result."""

import numpy as np
import pytest

from tests.observables.test_error_analysis import autoregressive, decisions
from trivmap.diagnostics.integration_error import Level
from trivmap.errors import InputError
from trivmap.observables import ArrayHistory, Results, analyze
from trivmap.observables.integration_shift import Pair, sufficiency


def independence(rng, chains, steps, s):
    """Independence Metropolis with log w = s x, x normal: the target is N(s, 1). (x, log w, accepted)."""
    x = rng.normal(size=(chains, steps))
    return x, s * x, decisions(rng, s * x)


def proposals(rng, chains, steps, s, warmup):
    x, log_weight, accepted = independence(rng, chains, steps, s)
    return ArrayHistory({"phi2": x}, accepted=accepted, log_weight=log_weight, warmup=warmup)


@pytest.mark.parametrize(("a", "chains", "length"), [(0.9, 200, 20), (0.97, 100, 100), (0.95, 16, 1200), (0.5, 4, 400)])
def test_errors_contain_the_scatter_between_chains(a, chains, length):
    pulls, trusted = [], 0
    for seed in range(60):
        results = analyze(ArrayHistory({"phi2": autoregressive(np.random.default_rng(seed), (chains, length), a)}))
        if "phi2" in results:
            trusted += 1
            pulls.append(results["phi2"].value / results["phi2"].dvalue)
    # Chains shorter than a few tau_int disagree; for the others the width of 60 pulls is known to 9%.
    if length * (1 - a) < 10:
        assert trusted < 6
    else:
        assert trusted > 50
        assert 0.75 < np.std(pulls) < 1.3


def test_chains_that_never_move_are_no_result():
    for values in (np.ones((4, 500)), np.repeat([[1.0], [2.0], [3.0], [4.0]], 500, axis=1)):
        results = analyze(ArrayHistory({"phi2": values}))
        assert "moved only 0 times" in results.untrusted["phi2"]


def test_moves_are_counted_in_values_that_differ():
    rng = np.random.default_rng(1)
    values = np.repeat(rng.normal(size=(1, 40)), 50, axis=1)
    assert "moved only 39 times in 2000 steps" in analyze(ArrayHistory({"phi2": values})).untrusted["phi2"]
    values = rng.normal(size=(1, 2000))
    values[:, 500:560] = values[:, 500:501]
    assert "stood still for 59 of all 2000" in analyze(ArrayHistory({"phi2": values})).untrusted["phi2"]


def test_one_chain_in_another_place_is_seen():
    values = autoregressive(np.random.default_rng(2), (4, 5000), 0.5)
    values[3] += 2
    results = analyze(ArrayHistory({"phi2": values, "phi4": values[::-1] ** 2}))
    assert "the chains disagree about" in results.untrusted["phi2"]
    assert results.info["r_hat"] > 1.1


def test_short_chains_of_proposals_give_way_to_reweighting():
    results = analyze(proposals(np.random.default_rng(3), 500, 40, 0.8, 4))
    assert "still remember their starts" in results.untrusted["phi2"]
    pull = (results.reweighted["phi2"].value - 0.8) / results.reweighted["phi2"].dvalue
    assert abs(pull) < 3
    entry = results.summary()["phi2"]
    assert entry["source"] == "reweighted" and entry["tau_int"] is None
    long = analyze(proposals(np.random.default_rng(3), 4, 5000, 0.8, 500))
    assert long.summary()["phi2"]["source"] == "chain"


def test_weights_that_vary_too_much_are_refused():
    results = analyze(proposals(np.random.default_rng(4), 4, 1000, 1.6, 100))
    assert "the weights vary too much" in results.reweighted.untrusted["phi2"]
    heavy = proposals(np.random.default_rng(5), 4, 5000, 0.2, 500)
    heavy._arrays["log_weight"] = np.random.default_rng(6).pareto(1.2, (4, 5000)).clip(1e-9)
    heavy._arrays["log_weight"] = np.log(heavy._arrays["log_weight"])
    assert "Pareto shape" in analyze(heavy).reweighted.untrusted["phi2"]


@pytest.mark.parametrize("kind", ["chain", "proposals"])
def test_an_exact_identity_that_fails_withholds_everything(kind):
    rng = np.random.default_rng(7)
    values = {"schwinger_dyson": 1 + rng.normal(size=(4, 2000)), "phi2": rng.normal(size=(4, 2000))}
    more = {} if kind == "chain" else {"accepted": np.ones((4, 2000), bool), "log_weight": np.zeros((4, 2000))}
    assert "phi2" in analyze(ArrayHistory(values, **more))
    values["schwinger_dyson"] = values["schwinger_dyson"] - 0.1
    results = analyze(ArrayHistory(values, **more))
    assert not list(results) and "schwinger_dyson is 1 in every correct ensemble" in results.untrusted["phi2"]
    assert results.reweighted is None or not list(results.reweighted)


def test_a_chain_that_is_not_its_reweighted_average_is_withheld():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(4, 4000))
    history = ArrayHistory({"phi2": x}, accepted=x > -0.5, log_weight=0.01 * rng.normal(size=x.shape), warmup=200)
    results = analyze(history)
    assert "errors of the difference from its reweighted average" in results.untrusted["phi2"]
    # One of the two is wrong, and nobody knows which.
    assert "phi2" not in results.reweighted
    assert results.info["broken_identity"] == results.untrusted["phi2"]


def test_equal_weights_disagree_by_rounding_only():
    for seed in range(10):
        values = np.random.default_rng(seed).normal(size=(3, 4, 2000))
        observables = dict(zip(("phi2", "phi4", "magnetization"), values, strict=True))
        history = ArrayHistory(observables, accepted=np.ones((4, 2000), bool), log_weight=np.full((4, 2000), 0.1))
        assert len(analyze(history)) >= 3


def test_few_rejections_do_not_make_a_difference_look_certain():
    """A nearly perfect map: its chain is the plain average of the proposals until a rare rejection corrects it."""
    worst = []
    for seed in range(200):
        x, log_weight, accepted = independence(np.random.default_rng(seed), 2, 400, 0.005)
        history = ArrayHistory({"phi2": x}, accepted=accepted, log_weight=log_weight, warmup=40)
        difference = analyze(history).difference["phi2"]
        worst.append(abs(difference.value) / difference.dvalue)
    assert max(worst) < 5


def test_what_is_measured_of_a_step_does_not_count_as_a_move():
    rng = np.random.default_rng(16)
    phi2 = np.repeat(rng.normal(size=(2, 40)), 100, axis=1)
    results = analyze(ArrayHistory({"phi2": phi2, "exp_minus_delta_h": rng.random(phi2.shape)}))
    assert results.info["moves"] == 78


def test_levels_know_nothing_of_steps():
    rng = np.random.default_rng(17)
    x = rng.normal(size=(4, 2000))
    level = Level(4, np.zeros(512), {"phi2": rng.normal(size=512)})
    fine = Level(8, np.zeros(512), {"phi2": level.observables["phi2"] + 0.01})
    history = ArrayHistory({"phi2": x, "exp_minus_delta_h": np.exp(0.1 * rng.normal(size=x.shape))})
    results = analyze(history, integration=[Pair(level, fine)])
    assert results["phi2"].value == pytest.approx(x.mean() + 0.01, rel=1e-9)
    assert results.info["integration_shift"]["phi2"]["value"] == pytest.approx(0.01)
    plain = analyze(history)["phi2"]
    # The shift of the map's own weights is only an error where the weights are of something more.
    results = analyze(history, integration=[Pair(level, fine)], correct=False)
    assert results["phi2"].value == pytest.approx(plain.value, rel=1e-9)
    assert results["phi2"].dvalue == pytest.approx(np.hypot(plain.dvalue, 0.01), rel=1e-6)
    assert Results.from_text(results.to_text(), "")["phi2"].dvalue == pytest.approx(results["phi2"].dvalue, rel=1e-6)


def test_levels_without_a_weight_measure_no_shift():
    rng = np.random.default_rng(19)
    pair = Pair(*(Level(steps, np.full(512, np.nan), {"phi2": rng.normal(size=512)}) for steps in (4, 8)))
    assert sufficiency(pair, 1000.0).configurations > 10**6
    results = analyze(ArrayHistory({"phi2": rng.normal(size=(4, 2000))}), integration=[pair])
    assert "leave only 0 effective samples" in results.untrusted["phi2"]


def test_weights_of_a_map_too_uneven_to_measure_its_integration():
    rng = np.random.default_rng(18)
    weights = 3 * rng.normal(size=512)
    pair = Pair(*(Level(steps, weights, {"phi2": rng.normal(size=512)}) for steps in (4, 8)))
    results = analyze(ArrayHistory({"phi2": rng.normal(size=(4, 2000))}), integration=[pair])
    assert "effective samples to measure its integration error" in results.untrusted["phi2"]


class TestSymmetry:
    def results(self, m, **arguments):
        rng = np.random.default_rng(9)
        history = ArrayHistory({"magnetization": m, "phi2": rng.normal(size=m.shape)}, **arguments)
        return analyze(history, symmetries={"z2"})

    def test_a_magnetization_that_is_not_zero_shows_a_missing_sector(self):
        m = 1 + np.random.default_rng(10).normal(size=(4, 2000))
        results = self.results(m)
        assert "a sector is missing" in results.untrusted["magnetization"]
        assert "phi2" in results and "abs_magnetization" in results
        assert results.info["missing_sector"] == results.untrusted["magnetization"]
        weighted = self.results(m, accepted=np.ones(m.shape, bool), log_weight=np.zeros(m.shape))
        assert "a sector is missing" in weighted.reweighted.untrusted["magnetization"]
        assert "magnetization" in analyze(ArrayHistory({"magnetization": m}))

    def test_one_chain_that_does_not_tunnel_says_nothing_of_it(self):
        steps = autoregressive(np.random.default_rng(11), (1, 4000), 0.5)
        m = 0.1 * steps + np.where(np.arange(4000) < 2000, 1.0, -1.0)
        assert "magnetization" in self.results(m).untrusted
        assert "one chain with 0 changes of sign" in self.results(0.1 * steps + 0.0005 + 1).untrusted["magnetization"]
        assert "magnetization" in self.results(steps)

    def test_both_sectors_and_no_tunneling_is_a_disagreement(self):
        m = 0.1 * np.random.default_rng(12).normal(size=(4, 2000)) + np.array([[1.0], [-1.0], [1.0], [-1.0]])
        assert "the chains disagree about magnetization" in self.results(m).untrusted["phi2"]


def test_lengths_need_a_correlation():
    rng = np.random.default_rng(13)
    c = np.array([1.0, 0.0, 0.0]) + 0.01 * rng.normal(size=(4, 2000, 3))
    k = np.array([1.02, 1.0]) + 0.3 * rng.normal(size=(4, 2000, 2))
    results = analyze(ArrayHistory({"correlator": c, "momentum_two_point": k}, lattice=(4, 4)))
    assert "the correlator at distance 1 is not 4 of its errors above zero" in results.untrusted["correlation_length"]


def test_fits_are_refused_together():
    rng = np.random.default_rng(14)
    t = np.arange(9)
    c = np.cosh(0.3 * (t - 8)) * (1 + 0.2 * (t == 5)) + 1e-3 * rng.normal(size=(4, 2000, 9))
    results = analyze(ArrayHistory({"correlator": c}, lattice=(16, 16)))
    assert results.untrusted["correlation_length_arccosh"] == results.untrusted["correlation_length_cosh_fit"]


@pytest.mark.parametrize(("offset", "scale"), [(1e6, 1e-3), (1e8, 0.1), (0.0, 1e-13)])
def test_tau_int_does_not_depend_on_offset_and_scale(offset, scale):
    x = autoregressive(np.random.default_rng(15), (4, 5000), 0.9)
    plain, other = (analyze(ArrayHistory({"phi2": values})) for values in (x, offset + scale * x))
    assert other.tau_int["phi2"] == pytest.approx(plain.tau_int["phi2"], rel=1e-3)


@pytest.mark.parametrize("warmup", [-5, True])
def test_a_warmup_that_is_no_number_of_steps_is_refused(warmup):
    with pytest.raises(InputError, match="warmup: must be a number of steps, 0 or more"):
        ArrayHistory({"phi2": np.zeros((2, 10))}, warmup=warmup)


def test_binder_of_a_few_samples_is_not_trusted():
    refused, pulls = 0, []
    for seed in range(60):
        m = np.random.default_rng(seed).normal(size=(10, 5))
        results = analyze(ArrayHistory({"magnetization": m}, lattice=(4, 4)))
        refused += "binder" not in results
        many = analyze(
            ArrayHistory({"magnetization": np.random.default_rng(seed).normal(size=(4, 1000))}, lattice=(4, 4))
        )
        pulls.append(many["binder"].value / many["binder"].dvalue)
    assert refused > 50
    assert abs(np.mean(pulls)) < 0.45 and 0.75 < np.std(pulls) < 1.3
