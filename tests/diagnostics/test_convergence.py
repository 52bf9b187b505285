import numpy as np
import pytest

from trivmap.diagnostics import r_hat
from trivmap.observables import ArrayHistory, disagreement


def normals(seed, chains=8, n=1000):
    return np.random.default_rng(seed).normal(size=(chains, n))


def test_chains_of_one_distribution():
    assert all(abs(r_hat(normals(seed)) - 1) < 0.01 for seed in range(20))


def test_by_hand():
    """Halves (0, 2), (2, 4), (0, 2), (2, 4): W = 2, B = 4/3, h = 2."""
    value = r_hat([[0.0, 2.0, 2.0, 4.0], [0.0, 2.0, 2.0, 4.0]])
    assert value >= np.sqrt(1 / 2 + (4 / 3) / 2) - 1e-12


def test_as_published_for_normal_scores():
    """Samples that are their own normal scores: both numbers agree."""
    from scipy.special import ndtri

    values = ndtri((np.arange(1, 401) - 0.375) / 400.25).reshape(4, 100)
    halves = values.reshape(8, 50)
    expected = np.sqrt(49 / 50 + np.var(halves.mean(axis=1), ddof=1) / np.mean(np.var(halves, axis=1, ddof=1)))
    assert r_hat(values) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("distance", [0.5, 1.0, 5.0])
def test_sees_two_sectors(distance):
    samples = normals(0) + distance * np.where(np.arange(8) % 2, 1, -1)[:, None]
    assert r_hat(samples) == pytest.approx(np.sqrt(1 + distance**2 * 16 / 15), rel=0.03)
    reason = disagreement(ArrayHistory({"magnetization": samples}))
    assert reason is not None and "disagree about magnetization (R-hat" in reason


def test_sees_a_drift_in_a_single_chain():
    assert r_hat(normals(0, chains=1) + np.linspace(-1, 1, 1000)) > 1.1


def test_sees_what_a_few_large_values_hide():
    samples = normals(0) + np.where(np.arange(8) % 2, 1, -1)[:, None]
    samples[:, ::50] *= 1e6
    assert r_hat(samples) > 1.1


def test_warm_up_is_left_out():
    samples = normals(3)
    samples[:, :200] += 10 * np.where(np.arange(8) % 2, 1, -1)[:, None]
    assert disagreement(ArrayHistory({"magnetization": samples}, warmup=200)) is None
    assert disagreement(ArrayHistory({"magnetization": samples})) is not None


def test_chains_that_stand_still():
    assert np.isnan(r_hat(np.ones((3, 10))))
    assert r_hat(np.ones((3, 10)) * [[1], [1], [2]]) == np.inf


@pytest.mark.parametrize("samples", [np.ones((4, 3)), np.full((4, 100), np.nan)])
def test_unknown(samples):
    assert np.isnan(r_hat(samples))
    reason = disagreement(ArrayHistory({"magnetization": samples}))
    assert reason is not None and "unknown" in reason
