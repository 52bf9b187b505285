"""Correlation lengths from the decay of the zero-momentum correlator: effective-mass plateau and cosh fit.

Both minimize chi^2 = sum_t (y_t - f_t)^2 / sigma_t^2 over a window of t. The y_t are correlated, so chi^2 over the
degrees of freedom is meaningless: chi^2 is compared with its expectation tr[(1 - P) K], where K is the correlation
matrix of the y_t / sigma_t and P the projector on the fit's tangent (arXiv:2209.14188). The parameter's error comes
from its derivatives with respect to the correlator, which is correct for any weights.
"""

from typing import NamedTuple

import numpy as np

from trivmap.lattice import Lattice
from trivmap.observables.estimators import effective_mass, gradient

LEAST_CORRELATION = 4.0
"""Errors by which the correlator must be above zero for a correlation length: at t = 1; for fits, at their start."""
_LEAST_P_VALUE = 1e-4
_ROUNDING = 64 * np.finfo(np.float64).eps


class FitError(Exception):
    """The fit gives no number that can be trusted; the message gives the reason."""


class Fit(NamedTuple):
    """A correlation length, its derivatives with respect to C(t), t = 0 ... L // 2, and the quality of the fit."""

    correlation_length: float
    gradient: np.ndarray
    amplitude: float | None
    start: int
    chi_squared: float
    expected_chi_squared: float
    degrees_of_freedom: int
    p_value: float


def default_start(lattice: Lattice) -> int:
    """First t of the fit windows, max(1, L // 4): higher states have died out after about a correlation length."""
    return max(1, max(lattice.shape) // 4)


def covariance_to_fit(correlator: np.ndarray, samples: np.ndarray, errors: np.ndarray, start: int) -> np.ndarray:
    """The covariance of the correlator's entries, autocorrelation included.

    Args:
        correlator: C(t).
        samples: its bin values, shape (chains, bins, times).
        errors: the errors of its entries.
        start: first t of the fits.

    Raises:
        FitError: if an entry has no error, or C(start) is not significantly above zero.
    """
    samples = samples.reshape(-1, len(correlator))
    # In one dimension C(0) of unit vectors is 1, without error; no fit begins there.
    constant = np.ptp(samples, axis=0) <= _ROUNDING * np.abs(correlator)
    constant[start:] = False
    errors = np.where(constant, 0.0, errors)
    if not np.all(np.isfinite(errors)) or not np.all(errors[~constant] > 0):
        raise FitError("the correlator it is fitted to has no trusted error")
    if not correlator[start] > LEAST_CORRELATION * errors[start]:
        raise FitError(f"the correlator at t = {start} is not {LEAST_CORRELATION:g} of its errors above zero")
    return np.where(constant | constant[:, None], 0.0, np.corrcoef(samples.T)) * np.outer(errors, errors)


def plateau(correlator: np.ndarray, covariance: np.ndarray, lattice: Lattice, start: int) -> Fit:
    """1/m with m the mean of m(t) = arccosh((C(t-1) + C(t+1)) / (2 C(t))), start <= t <= L/2, weighted by 1/error^2.

    `covariance` is that of the means C(t), autocorrelation included. Raises `FitError`.
    """
    window = slice(start, len(correlator))
    masses = effective_mass({"correlator": correlator}, lattice)[window]
    if not np.all(np.isfinite(masses)):
        raise FitError("an effective mass of the window is undefined: the noise exceeds the signal")
    jacobian = gradient(lambda c: effective_mass({"correlator": c}, lattice)[window], correlator)
    spread = jacobian @ covariance @ jacobian.T
    weights = 1 / np.diag(spread)
    mass = float(weights @ masses / weights.sum())
    quality = _quality(masses - mass, np.ones((len(masses), 1)), weights, spread)
    slope = -(weights @ jacobian / weights.sum()) / mass**2
    return Fit(1 / mass, slope, None, start, *quality)


def cosh_fit(correlator: np.ndarray, covariance: np.ndarray, lattice: Lattice, start: int) -> Fit:
    """1/m from the fit of C(t) = A cosh(m (t - L/2)) / cosh(m L/2) over start <= t <= L/2.

    `covariance` is that of the means C(t), autocorrelation included. Raises `FitError` if the fit does not converge
    to a positive mass, or does not describe the correlator.
    """
    t = np.arange(start, len(correlator))
    if len(t) < 2:
        raise FitError(f"the window starting at t = {start} holds fewer than two points")
    from_middle, half = max(lattice.shape) / 2 - t, max(lattice.shape) / 2
    data, weights = correlator[t], 1 / np.diag(covariance)[t]
    first = effective_mass({"correlator": correlator}, lattice)[start]
    mass = float(first) if np.isfinite(first) else 1 / half
    for _ in range(100):
        # A is linear and is eliminated; Newton's method minimizes the remaining chi^2, a function of m alone.
        shape, first_derivative, second_derivative = _cosh(mass, from_middle, half)
        amplitude = float((weights * shape) @ data / ((weights * shape) @ shape))
        residual = data - amplitude * shape
        tangent = np.stack([shape, amplitude * first_derivative], axis=1)
        hessian = (tangent.T * weights) @ tangent
        step = float(np.linalg.solve(hessian, (tangent.T * weights) @ residual)[1]) if _regular(hessian) else np.nan
        if not np.isfinite(step) or mass > 50:
            raise FitError("the cosh fit did not converge")
        step = float(np.clip(step, -mass / 2, mass))
        mass += step
        if abs(step) < 1e-10 * mass:
            break
    else:
        raise FitError("the cosh fit did not converge to a positive mass")
    # Implicit function theorem on the gradient of chi^2; its curvature includes the residuals.
    mixed = -(weights * residual) @ first_derivative
    bend = -(weights * residual) @ (amplitude * second_derivative)
    curvature = hessian + np.array([[0.0, mixed], [mixed, bend]])
    response = np.zeros(len(correlator))
    response[t] = np.linalg.solve(curvature, tangent.T * weights)[1]
    quality = _quality(residual, tangent, weights, covariance[np.ix_(t, t)])
    return Fit(1 / mass, -response / mass**2, amplitude, start, *quality)


def _cosh(mass: float, from_middle: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """cosh(m u) / cosh(m h) with its first two derivatives in m."""
    normalization = np.cosh(mass * half)
    value, slope = np.cosh(mass * from_middle) / normalization, np.tanh(mass * half)
    sine = from_middle * np.sinh(mass * from_middle) / normalization
    first = sine - half * slope * value
    second = from_middle**2 * value - 2 * half * slope * sine + half**2 * (2 * slope**2 - 1) * value
    return value, first, second


def _regular(matrix: np.ndarray) -> bool:
    return bool(np.all(np.isfinite(matrix)) and np.linalg.cond(matrix) < 1e14)


def _quality(
    residual: np.ndarray, tangent: np.ndarray, weights: np.ndarray, covariance: np.ndarray
) -> tuple[float, float, int, float]:
    """chi^2, its expectation, the degrees of freedom and the p-value; raises `FitError` if the fit is hopeless.

    chi^2 of correlated data is a sum of chi^2_1 with the eigenvalues of (1 - P) K (1 - P) as factors; its tail is
    approximated by the scaled chi^2 distribution with the same mean and variance.
    """
    from scipy.special import gammaincc

    scale = np.sqrt(weights)
    chi_squared = float(np.sum((scale * residual) ** 2))
    freedom = len(residual) - tangent.shape[1]
    if freedom == 0:
        return chi_squared, 0.0, 0, 1.0
    directions = np.linalg.qr(tangent * scale[:, None])[0]
    outside = np.eye(len(residual)) - directions @ directions.T
    spread = outside @ (covariance * np.outer(scale, scale)) @ outside
    mean, half_variance = float(np.trace(spread)), float(np.sum(spread * spread))
    p_value = float(gammaincc(mean**2 / half_variance / 2, chi_squared * mean / half_variance / 2))
    if p_value < _LEAST_P_VALUE:
        raise FitError(
            f"chi^2 is {chi_squared / mean:.1f} times its expectation: higher states or a wrong model in the window"
        )
    return chi_squared, mean, freedom, p_value
