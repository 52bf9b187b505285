"""The two correlator fits: exact on a cosh, right derivatives, right chi^2, refusals."""

import numpy as np
import pytest

from trivmap.lattice import Lattice
from trivmap.observables.correlator_fits import FitError, cosh_fit, default_start, plateau

FITS = [plateau, cosh_fit]


def cosh(mass, extent, points):
    return 0.8 * np.cosh(mass * (np.arange(points) - extent / 2)) / np.cosh(mass * extent / 2)


def covariance(correlator, relative=0.01, length=3.0):
    """Neighboring t strongly correlated, as in data."""
    t = np.arange(len(correlator))
    return relative**2 * np.outer(correlator, correlator) * np.exp(-np.abs(t[:, None] - t) / length)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("shape", "mass"), [((8, 8), 0.5), ((9,), 1.7), ((32, 4), 0.12), ((4, 4), 1.0)])
def test_single_cosh_gives_its_mass(fit, shape, mass):
    lattice = Lattice(shape)
    correlator = cosh(mass, max(shape), max(shape) // 2 + 1)
    result = fit(correlator, covariance(correlator), lattice, default_start(lattice))
    np.testing.assert_allclose(result.correlation_length, 1 / mass, rtol=1e-8)
    assert result.start == default_start(lattice)
    points = max(shape) // 2 + 1 - result.start
    assert result.degrees_of_freedom == points - (2 if fit is cosh_fit else 1)
    assert result.chi_squared < 1e-8
    assert result.p_value > 0.999
    if fit is cosh_fit:
        np.testing.assert_allclose(result.amplitude, 0.8, rtol=1e-8)


@pytest.mark.parametrize("fit", FITS)
def test_gradient_is_that_of_finite_differences(fit):
    lattice, rng = Lattice((16, 4)), np.random.default_rng(0)
    clean = cosh(0.3, 16, 9)
    spread = covariance(clean)
    # The plateau's weights are constants in its derivative: true where all effective masses agree.
    noisy = clean * (1 + (0.003 if fit is cosh_fit else 0.0) * rng.normal(size=9))
    slope = fit(noisy, spread, lattice, 2).gradient
    for t in range(9):
        step = 1e-5 * clean[t] * np.eye(9)[t]
        up, down = (fit(noisy + s, spread, lattice, 2).correlation_length for s in (step, -step))
        difference = (up - down) / (2e-5 * clean[t])
        assert abs(slope[t] - difference) < 1e-5 * np.abs(slope).max() + 1e-12
    assert np.all(slope[: 2 if fit is cosh_fit else 1] == 0)


@pytest.mark.parametrize("fit", FITS)
def test_errors_and_expected_chi_squared_are_right(fit):
    lattice, rng = Lattice((16, 16)), np.random.default_rng(1)
    clean = cosh(0.3, 16, 9)
    spread = covariance(clean, relative=0.003)
    samples = rng.multivariate_normal(clean, spread, size=1500)
    results = [fit(sample, spread, lattice, 4) for sample in samples]
    pulls = [(r.correlation_length - 1 / 0.3) / np.sqrt(r.gradient @ spread @ r.gradient) for r in results]
    assert abs(np.mean(pulls)) < 0.15
    assert np.std(pulls) == pytest.approx(1, abs=0.06)
    assert np.mean([r.chi_squared / r.expected_chi_squared for r in results]) == pytest.approx(1, abs=0.1)
    assert np.mean([r.p_value < 0.1 for r in results]) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("fit", FITS)
def test_second_state_is_noticed(fit):
    correlator = cosh(0.3, 16, 9) + cosh(1.0, 16, 9)
    with pytest.raises(FitError, match="times its expectation"):
        fit(correlator, covariance(correlator, relative=1e-3), Lattice((16, 16)), 1)


@pytest.mark.parametrize(
    ("fit", "correlator", "start", "message"),
    [
        (plateau, np.array([1.0, 0.5, 0.3, 0.31, 0.29]), 2, "noise exceeds the signal"),
        (cosh_fit, np.array([1.0, 0.2, 0.3, 0.4, 0.5]), 2, "did not converge"),
        (cosh_fit, np.array([1.0, 0.5, 0.3, 0.2, 0.15]), 4, "fewer than two points"),
    ],
)
def test_refusals(fit, correlator, start, message):
    with pytest.raises(FitError, match=message):
        fit(correlator, covariance(correlator), Lattice((8, 8)), start)
