"""The autocorrelation time on series whose time is known."""

import numpy as np
import pytest
from scipy.signal import lfilter

from trivmap.diagnostics.autocorrelation import autocorrelation_time
from trivmap.errors import InputError


def autoregressive(rng, chains, n, rho):
    """x_t = rho x_(t-1) + noise in equilibrium: tau_int = 1/2 + rho / (1 - rho)."""
    noise = rng.normal(size=(chains, n)) * np.sqrt(1 - rho**2)
    noise[:, 0] /= np.sqrt(1 - rho**2)
    return lfilter([1], [1, -rho], noise, axis=1)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 0.97])
def test_value_and_error(rho):
    exact = 0.5 + rho / (1 - rho)
    rng = np.random.default_rng(7)
    found = [autocorrelation_time(3 + autoregressive(rng, 4, 5000, rho)) for _ in range(40)]
    values, errors = np.array(found).T
    # The cut at the window leaves some per cent out.
    assert abs(values.mean() / exact - 1) < 0.04
    assert 0.6 < values.std() / errors.mean() < 1.5


@pytest.mark.parametrize("rho", [-0.98, -0.95, -0.8, -0.5, -0.2, 0.0, 0.5, 0.9])
def test_error_covers(rho):
    """Pulls over 250 series: their width within three of its own errors of 1, their mean near 0."""
    exact, rng = 0.5 + rho / (1 - rho), np.random.default_rng(1)
    found = np.array([autocorrelation_time(autoregressive(rng, 4, 3000, rho)) for _ in range(250)])
    pulls = (found[:, 0] - exact) / found[:, 1]
    assert np.all(found[:, 0] > 0)
    assert abs(pulls.mean()) < 0.25
    assert 0.85 < pulls.std() < 1.15


@pytest.mark.parametrize(("radius", "angle"), [(0.98, np.pi / 2), (0.9, 2 * np.pi / 3), (0.98, 0.5)])
def test_oscillating_series(radius, angle):
    """x_t = 2 r cos(w) x_(t-1) - r^2 x_(t-2) + noise, whose spectrum is known."""
    one, two = 2 * radius * np.cos(angle), -(radius**2)
    variance = (1 - two) / ((1 + two) * ((1 - two) ** 2 - one**2))
    exact = 0.5 / (1 - one - two) ** 2 / variance
    noise = np.random.default_rng(2).normal(size=(4, 12_000))
    found = autocorrelation_time(lfilter([1], [1, -one, -two], noise, axis=1)[:, 2000:])
    assert abs(found.value - exact) < 3 * found.error
    assert found.error < 0.1 * exact


@pytest.mark.parametrize(("shift", "scale"), [(0, 1e-13), (1e6, 1e-3), (1e8, 0.1), (0, 1e200), (0, -1e-200)])
def test_neither_scale_nor_mean_matters(shift, scale):
    series = autoregressive(np.random.default_rng(3), 4, 3000, 0.9)
    expected, found = autocorrelation_time(series), autocorrelation_time(shift + scale * series)
    assert found == (pytest.approx(expected.value, rel=1e-6), pytest.approx(expected.error, rel=1e-6))


def test_a_series_that_alternates_without_noise_has_none():
    assert autocorrelation_time(np.tile([0.0, 1.0], (2, 500))) == (0.0, 0.0)


def test_agrees_with_pyerrors():
    import pyerrors

    series = autoregressive(np.random.default_rng(9), 2, 4000, 0.8)
    observable = pyerrors.Obs(list(series), ["e|r0", "e|r1"])
    observable.gamma_method(S=1.5)
    found = autocorrelation_time(series)
    assert found.value == pytest.approx(observable.e_tauint["e"], rel=0.1)
    assert found.error == pytest.approx(observable.e_dtauint["e"], rel=0.4)


def test_chains_that_disagree_have_no_time_of_their_own():
    rng = np.random.default_rng(10)
    series = autoregressive(rng, 4, 1000, 0.2) + np.array([5.0, -5.0, 5.0, -5.0])[:, None]
    assert np.isnan(autocorrelation_time(series).value)


def test_constant_and_refused_series():
    assert autocorrelation_time(np.ones((2, 50))) == (0.5, 0.0)
    assert autocorrelation_time(np.full((3, 49), 0.1)) == (0.5, 0.0)
    for bad in (np.ones((3, 1)), np.array([1.0, np.nan, 2.0]), np.ones((2, 3, 4))):
        with pytest.raises(InputError, match="finite series"):
            autocorrelation_time(bad)
