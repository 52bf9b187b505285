import math

import numpy as np
import pytest

from tests.reports import synthetic
from trivmap.observables import ArrayHistory
from trivmap.reports import streams
from trivmap.reports.streams import chain_statistics, log_weight_histogram, rejections_in_a_row


def proposals(magnetization, accepted, log_weight, warmup=0):
    return ArrayHistory({"magnetization": magnetization}, accepted=accepted, log_weight=log_weight, warmup=warmup)


def test_chain_is_the_last_accepted_proposal():
    drawn = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]])
    accepted = np.array([[1, 0, 1, 0, 0, 0, 1, 0], [1, 1, 0, 0, 0, 1, 0, 1]], bool)
    found = chain_statistics(proposals(drawn, accepted, np.zeros((2, 8)), warmup=1))
    # The warm-up is followed, not shown: the second step of the first chain repeats its first.
    np.testing.assert_array_equal(found.histories, [[1, 3, 3, 3, 3, 7, 7], [7, 7, 7, 7, 3, 3, 1]])
    np.testing.assert_array_equal(found.steps, np.arange(1, 8))
    # Runs ended by an acceptance after the warm-up: 1, 3 in the first chain; 0, 3, 1 in the second.
    np.testing.assert_array_equal(found.rejection_runs, [1, 2, 0, 2])
    assert found.acceptance == 5 / 14


def test_densities_match_histograms_of_the_whole():
    history = synthetic.history((4,), proposals=900)
    found = chain_statistics(history)
    steps, measured = np.arange(900), slice(history.warmup, None)
    chain, weights, drawn = [], [], []
    for k in range(history.chains):
        accepted, m = history.read("accepted", k, 0, 900), history.read("magnetization", k, 0, 900)
        chain.append(m[np.maximum.accumulate(np.where(accepted, steps, 0))][measured])
        drawn.append(m[measured])
        weights.append(np.exp(history.read("log_weight", k, 0, 900))[measured])
    expected = np.histogram(np.concatenate(chain), found.edges, density=True)[0]
    np.testing.assert_allclose(found.density, expected, rtol=1e-12)
    weighted = np.histogram(np.concatenate(drawn), found.edges, weights=np.concatenate(weights), density=True)[0]
    np.testing.assert_allclose(found.reweighted[0], weighted, rtol=1e-10)


def test_density_errors_cover_the_exact_distribution():
    # The magnetization of the free field is normal with variance 1 / (V m^2).
    sigma = 1 / math.sqrt(4 * synthetic.MASS_SQUARED)
    pulls = {"chain": [], "reweighted": []}
    for seed in range(12):
        found = chain_statistics(synthetic.history((4,), proposals=2000, seed=seed))
        below = np.array([0.5 * math.erfc(-edge / sigma / math.sqrt(2)) for edge in found.edges])
        exact = np.diff(below) / np.diff(found.edges)
        common = exact > 0.1
        drawn = {"chain": (found.density, found.density_error), "reweighted": found.reweighted}
        for name, (density, error) in drawn.items():
            pulls[name].append((density - exact)[common] / error[common])
    for values in map(np.concatenate, pulls.values()):
        assert len(values) > 100
        assert np.mean(values**2) == pytest.approx(1, abs=0.25)


def test_autocorrelation_of_an_autoregressive_chain():
    random = np.random.default_rng(3)
    a, steps = 0.8, 40_000
    noise = random.normal(size=(4, steps)) * math.sqrt(1 - a**2)
    values = np.empty_like(noise)
    values[:, 0] = random.normal(size=4)
    for t in range(1, steps):
        values[:, t] = a * values[:, t - 1] + noise[:, t]
    found = chain_statistics(ArrayHistory({"magnetization": 20 + values}))
    assert found.reweighted is None
    assert found.rejection_runs is None
    assert found.acceptance is None
    assert len(found.rho) >= 20
    expected = a ** np.arange(len(found.rho))
    pulls = (found.rho[1:] - expected[1:]) / found.rho_error[1:]
    assert np.abs(pulls).max() < 4
    # Bartlett's formula for an autoregressive process, at lag 1: (1 - a^2) / N.
    assert found.rho_error[1] == pytest.approx(math.sqrt((1 - a**2) / (4 * steps)), rel=0.1)


def test_a_frozen_chain_gives_no_nan():
    found = chain_statistics(ArrayHistory({"magnetization": np.full((1, 64), 0.25)}))
    assert np.isfinite(found.rho).all()
    assert np.isfinite(found.density).all()


def test_blocks_change_nothing(monkeypatch):
    history = synthetic.history((4,), proposals=500)
    whole = chain_statistics(history), log_weight_histogram(history)
    monkeypatch.setattr(streams, "_BLOCK", 7)
    parts = chain_statistics(history), log_weight_histogram(history)
    np.testing.assert_allclose(parts[0].density, whole[0].density, rtol=1e-12)
    np.testing.assert_array_equal(parts[0].rejection_runs, whole[0].rejection_runs)
    np.testing.assert_array_equal(parts[0].histories, whole[0].histories)
    np.testing.assert_allclose(parts[1].target, whole[1].target, rtol=1e-10)
    assert parts[1].variance == pytest.approx(whole[1].variance, rel=1e-12)


def test_rejections_in_a_row_by_counting_windows():
    accepted = np.random.default_rng(0).random((1, 20_000)) < 0.4
    accepted[:, 0] = True
    found = chain_statistics(proposals(np.zeros((1, 20_000)), accepted, np.zeros((1, 20_000))))
    probability = rejections_in_a_row(found.rejection_runs, 6)
    windows = [np.mean(~np.lib.stride_tricks.sliding_window_view(accepted[0], t).any(axis=1)) for t in range(1, 6)]
    assert probability[0] == 1
    np.testing.assert_allclose(probability[1:], windows, rtol=2e-3)
    np.testing.assert_allclose(probability, 0.6 ** np.arange(6), rtol=0.09)


@pytest.mark.parametrize("offset", [0.0, 5e4])
def test_log_weights_of_a_gaussian(offset):
    s, count = 0.7, 50_000
    log_weight = np.random.default_rng(1).normal(offset - s**2 / 2, s, size=(2, count))
    found = log_weight_histogram(proposals(log_weight, np.ones((2, count), bool), log_weight))
    width = np.diff(found.edges)[0]
    # log Z is the offset up to the error of the mean weight.
    error = math.sqrt(math.expm1(s**2) / (2 * count))
    assert found.mean == pytest.approx(-(s**2) / 2, abs=4 * error)
    assert found.variance == pytest.approx(log_weight.var(ddof=1), rel=1e-8)
    assert found.proposals.sum() * width == pytest.approx(1, abs=1e-3)
    assert found.target.sum() * width == pytest.approx(1, abs=1e-9)
    center = (found.edges[1:] + found.edges[:-1]) / 2
    dense = found.proposals > 0.05
    np.testing.assert_allclose(found.target[dense], (found.proposals * np.exp(center))[dense], rtol=0.02)
    assert found.invalid == 0


def test_log_weights_that_are_no_numbers_are_counted_and_left_out():
    log_weight = np.random.default_rng(2).normal(size=(1, 400))
    log_weight[0, 350:] = -0.5
    log_weight[0, [3, 9]] = np.nan, np.inf
    log_weight[0, 5] = -np.inf
    found = log_weight_histogram(proposals(log_weight, np.ones((1, 400), bool), log_weight, warmup=4))
    assert found.invalid == 1
    kept = log_weight[0, 4:][np.isfinite(log_weight[0, 4:])]
    assert found.variance == pytest.approx(kept.var(ddof=1), rel=1e-12)


def test_no_finite_log_weight_is_refused():
    log_weight = np.full((1, 50), np.nan)
    with pytest.raises(ValueError, match="no finite log-weights"):
        log_weight_histogram(proposals(log_weight, np.ones((1, 50), bool), log_weight))


def test_nothing_is_accepted():
    rejected = np.zeros((2, 8), bool)
    found = chain_statistics(proposals(np.ones((2, 8)), rejected, np.zeros((2, 8))))
    assert found.rejection_runs is not None
    assert found.acceptance == 0
    assert list(rejections_in_a_row(found.rejection_runs, 4)) == [1, 1, 1, 1]
