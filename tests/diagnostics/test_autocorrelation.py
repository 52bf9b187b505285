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


def test_alternating_series_are_better_than_independent_ones():
    found = autocorrelation_time(autoregressive(np.random.default_rng(8), 2, 20_000, -0.5))
    assert abs(found.value - (0.5 - 0.5 / 1.5)) < 4 * found.error


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
    for bad in (np.ones((3, 1)), np.array([1.0, np.nan, 2.0]), np.ones((2, 3, 4))):
        with pytest.raises(InputError, match="finite series"):
            autocorrelation_time(bad)
