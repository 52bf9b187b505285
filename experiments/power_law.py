"""Critical slowing down: how autocorrelation times grow with the correlation length."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trivmap.errors import InputError
from trivmap.estimate import Estimate

LINE = {8: 0.576, 16: 0.634, 32: 0.6614, 64: 0.6743}
"""beta (notation bosetti2015, lam = 0.5) of 2D phi^4 at xi = L/4, by L: the line of arXiv:2105.12481 continued."""


class PowerLaw(NamedTuple):
    """tau = `amplitude` xi^`exponent`; `chi_squared` of the fit with `degrees` of freedom, its errors not rescaled.

    Where chi^2 is large against the degrees the times follow no power law, and the error of the exponent means little.
    """

    exponent: Estimate
    amplitude: Estimate
    chi_squared: float
    degrees: int


def power_law(lengths: Sequence[float], times: Sequence[Estimate]) -> PowerLaw:
    """The straight line through log(tau) against log(xi), weighted by the errors of log(tau), error / tau.

    Raises `InputError` unless there are two lengths at least, and lengths, times and errors are positive and finite.
    """
    table = np.array([(length, *time) for length, time in zip(lengths, times, strict=True)], np.float64).reshape(-1, 3)
    if len(set(table[:, 0])) < 2 or not np.all(np.isfinite(table) & (table > 0)):
        raise InputError("power_law: needs two lengths at least, and positive finite lengths, times and errors")
    x, y, error = np.log(table[:, 0]), np.log(table[:, 1]), table[:, 2] / table[:, 1]
    design = np.stack([np.ones_like(x), x], axis=1) / error[:, None]
    covariance = np.linalg.inv(design.T @ design)
    offset, slope = covariance @ (design.T @ (y / error))
    residual = (y - offset - slope * x) / error
    deviations = np.sqrt(np.diag(covariance))
    amplitude = float(np.exp(offset))
    return PowerLaw(
        Estimate(float(slope), float(deviations[1])),
        Estimate(amplitude, float(amplitude * deviations[0])),
        float(residual @ residual),
        len(x) - 2,
    )
