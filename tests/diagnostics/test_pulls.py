"""chi^2 of correlated pulls against its exact distribution."""

import numpy as np
import pytest
from scipy import stats

from trivmap.diagnostics.pulls import agreement

RHO = 0.9


def correlation(n):
    """Correlation RHO between each two, as between observables that hang together."""
    return np.full((n, n), RHO) + (1 - RHO) * np.eye(n)


def test_independent_pulls_have_a_chi_squared_distribution():
    pulls = np.array([1.0, -2.0, 0.5, 1.5])
    found = agreement(pulls, np.eye(4))
    assert (found.chi_squared, found.pulls) == (pytest.approx(7.5), 4)
    expected = stats.chi2.sf(7.5, 4)
    assert found.p_value == pytest.approx(expected, abs=4 * np.sqrt(expected / 2**17))


def test_pulls_that_are_one_and_the_same_count_once():
    """Six equal pulls of two: the probability of one pull of two, without inverting a singular matrix."""
    found = agreement(np.full(6, 2.0), np.ones((6, 6)))
    assert found.p_value == pytest.approx(2 * stats.norm.sf(2.0), abs=3e-3)


def test_p_values_are_uniform_whatever_the_correlation():
    random = np.random.default_rng(3)
    pulls = random.multivariate_normal(np.zeros(10), correlation(10), size=300)
    p_values = [agreement(each, correlation(10)).p_value for each in pulls]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    # Without the correlation too many would be near 0 and near 1.
    naive = [stats.chi2.sf(np.sum(each**2), 10) for each in pulls]
    assert stats.kstest(naive, "uniform").pvalue < 1e-6


def test_what_is_impossible():
    assert agreement(np.full(5, 9.0), np.eye(5)).p_value == 2**-17
