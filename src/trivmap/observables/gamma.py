"""The Gamma method (hep-lat/0306017): means of correlated samples, with errors that include their autocorrelation.

If pyerrors is installed, its objects replace those here: they can do more, and the numbers are the same.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

WINDOW = 2.0
"""S of the automatic windowing: the exponential autocorrelation time is assumed to be about S tau_int."""
_SMALLEST_TAU_INT = 0.5 + np.finfo(np.float64).eps


@dataclass(frozen=True)
class Series:
    """A number from samples: its value, and its deviations in the samples of each ensemble.

    Sums and differences keep the correlations within an ensemble; ensembles are independent of each other.

    Args:
        value: the value.
        deviations: deviation from it in every sample, shape (replicas, samples), for each ensemble; their mean is zero.
        variances: the squares of errors that do not come from samples, by name.
    """

    value: float
    deviations: Mapping[str, np.ndarray]
    variances: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def dvalue(self) -> float:
        """The error."""
        squares = [error_squared(each) for each in self.deviations.values()]
        return math.sqrt(sum(squares) + sum(self.variances.values()))

    @cached_property
    def ddvalue(self) -> float:
        """The error of the error, eq. (42): its relative square is (W + 1/2) / N in each ensemble."""
        parts = []
        for each in self.deviations.values():
            square, window = _error_squared(each)
            parts.append(square * math.sqrt((window + 0.5) / each.size))
        return math.hypot(*parts) / self.dvalue if self.dvalue else 0.0

    def gamma_method(self) -> None:
        """Do nothing: the error is computed on access; pyerrors' objects need this call."""

    def __add__(self, other: Any) -> "Series":
        if not isinstance(other, Series):
            return Series(self.value + float(other), self.deviations, self.variances)
        deviations, variances = dict(self.deviations), dict(self.variances)
        for name, each in other.deviations.items():
            deviations[name] = deviations[name] + each if name in deviations else each
        for name, each in other.variances.items():
            variances[name] = variances.get(name, 0.0) + each
        return Series(self.value + other.value, deviations, variances)

    __radd__ = __add__

    def __neg__(self) -> "Series":
        turned = {name: -each for name, each in self.deviations.items()}
        return Series(-self.value, turned, self.variances)

    def __sub__(self, other: Any) -> "Series":
        return self + (-other)


def error_squared(deviations: np.ndarray) -> float:
    """The squared error of the mean of correlated samples.

    sigma^2 = 2 tau_int Gamma(0) / N with the automatic window W, where exp(-W/tau) = tau / sqrt(W N), and the bias of
    tau_int corrected, eqs. (32) to (52).

    Args:
        deviations: shape (replicas, samples).
    """
    return _error_squared(deviations)[0]


def _error_squared(deviations: np.ndarray) -> tuple[float, int]:
    """The squared error, and the window W; 0 where the samples have no autocorrelation to sum."""
    total = deviations.size
    gamma, tau_int = _summed(deviations)
    if len(gamma) < 2:
        return float(gamma.sum()) / total, 0
    windows = np.arange(1, len(gamma))
    decay = WINDOW / np.log((2 * tau_int[1:] + 1) / (2 * tau_int[1:] - 1))
    reached = np.exp(-windows / decay) < decay / np.sqrt(windows * total)
    reached[len(gamma) - 2 :] = True
    window = int(windows[np.argmax(reached)])
    corrected = tau_int[window] * (1 + (2 * window + 1) / total)
    return float(2 * corrected * gamma[0] / total), window


def _summed(deviations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gamma(t) up to half the length of a replica, and tau_int summed up to t; empty if nothing fluctuates."""
    replicas, length = deviations.shape
    longest = length // 2
    pairs = np.maximum(replicas * (length - np.arange(longest)), 1)
    gamma = _autocovariance(deviations, longest) / pairs
    if not longest or abs(gamma[0]) < 10 * np.finfo(np.float64).tiny:
        return np.empty(0), np.empty(0)
    return gamma, np.maximum(np.cumsum(np.concatenate([[0.5], gamma[1:] / gamma[0]])), _SMALLEST_TAU_INT)


def _autocovariance(deviations: np.ndarray, lags: int) -> np.ndarray:
    """Sums over all pairs of samples of a replica at distance t = 0 ... lags - 1."""
    length = deviations.shape[1]
    modes = np.fft.rfft(deviations, 2 * length, axis=1)
    power = np.sum(modes.real**2 + modes.imag**2, axis=0)
    return np.fft.irfft(power, 2 * length)[:lags]
