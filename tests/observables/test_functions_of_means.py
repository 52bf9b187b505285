"""Functions of averages that are not linear need more configurations and lighter tails than averages."""

import numpy as np

from tests.observables.test_error_analysis import autoregressive, decisions
from trivmap.observables import ArrayHistory, analyze


def test_functions_of_means_need_more_configurations_than_means():
    rng = np.random.default_rng(5)
    for count, withheld in ((900, True), (1500, False)):
        results = analyze(ArrayHistory({"magnetization": 1 + 0.1 * rng.normal(size=(2, count))}, lattice=(4, 4)))
        assert "susceptibility" in results
        reason = results.untrusted.get("connected_susceptibility", "")
        assert ("fewer than 2000" in reason) == withheld


def test_functions_of_means_need_lighter_tails_than_means():
    rng = np.random.default_rng(5)
    for spread, withheld in ((0.3, False), (1.1, True)):
        x, noise = rng.normal(size=(2, 4, 10_000))
        log_weight = spread * noise
        arrays = {"accepted": decisions(rng, log_weight), "log_weight": log_weight}
        history = ArrayHistory({"magnetization": x}, lattice=(4, 4), **arrays)
        results = analyze(history).reweighted
        assert "susceptibility" in results
        reason = results.untrusted.get("binder", "")
        assert ("and a function of averages (skewness of their mean 0." in reason) == withheld


def test_a_slow_function_among_fast_scalars_is_judged_by_its_own_time():
    rng = np.random.default_rng(6)
    fast = {name: rng.normal(size=(4, 3000)) for name in ("phi2", "phi4", "ising_energy", "action_density")}
    results = analyze(ArrayHistory(fast | {"magnetization": autoregressive(rng, (4, 3000), 0.98)}, lattice=(4, 4)))
    assert "susceptibility" in results and "phi2" in results
    assert results.untrusted["binder"].startswith("its autocorrelation time of ")
    assert results.untrusted["binder"].endswith("of 12000 configurations, fewer than 1000")
