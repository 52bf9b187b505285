"""Many correlated comparisons as one."""

from typing import NamedTuple

import numpy as np

_DRAWS = 2**17
_ROUNDING = 1e-6


class Agreement(NamedTuple):
    """The sum of squared pulls, their number (its expectation), and the probability of a larger sum."""

    chi_squared: float
    pulls: int
    p_value: float


def agreement(pulls: np.ndarray, correlation: np.ndarray) -> Agreement:
    """chi^2 = sum_i d_i^2 of differences d_i in units of their error, judged with their correlation.

    For normal d of unit variance and correlation C, chi^2 is distributed as sum_i lambda_i z_i^2, lambda_i the
    eigenvalues of C and z_i independent standard normal numbers; its expectation is the number of pulls. No matrix is
    inverted, so observables that nearly determine each other do no harm (arXiv:2209.14188).

    Args:
        pulls: shape (n,).
        correlation: shape (n, n), with unit diagonal and no entry beyond 1.

    Raises:
        ValueError: if `correlation` is not a matrix of correlations.

    Returns:
        chi^2, n, and the p-value by 2^17 draws at a fixed seed; its smallest value is 2^-17.
    """
    if not (np.allclose(np.diag(correlation), 1) and np.all(np.abs(correlation) <= 1 + _ROUNDING)):
        raise ValueError("the correlations of the pulls need a diagonal of 1 and entries between -1 and 1")
    eigenvalues = np.clip(np.linalg.eigvalsh(correlation), 0, None)
    chi_squared = float(np.sum(np.square(pulls)))
    drawn = np.square(np.random.default_rng(0).standard_normal((_DRAWS, len(pulls)))) @ eigenvalues
    return Agreement(chi_squared, len(pulls), max(float(np.mean(drawn >= chi_squared)), 1 / _DRAWS))
