"""Integrated autocorrelation times of a measurement along Markov chains."""

import numpy as np
from numpy.typing import ArrayLike

from trivmap.errors import InputError
from trivmap.estimate import Estimate

_LEAST_WINDOWS = 25
"""Chains shorter than this many windows cannot determine their own autocorrelation."""
_LAGS, _ROUNDS = 8, 6
"""Distances at which a series is checked for alternation, and the most filters in a row that remove it."""


def autocorrelation_time(series: ArrayLike, *, window_factor: float = 1.5) -> Estimate:
    """tau_int = 1/2 + sum_{t=1}^W rho(t), in steps, of a series of shape (chains, n) or (n,).

    Automatic window and error as in hep-lat/0306017: W is the first t with exp(-t/tau) < tau / sqrt(t N), where tau is
    `window_factor` / log((2 r + 1) / (2 r - 1)), r = 1/2 + sum of |rho(t)| up to t; the error is
    tau_int sqrt(4 (W + 1/2 - tau_int) / N), N all steps together. The mean is taken over all chains, so that chains
    which disagree have long times; the bias of that mean is removed. A constant series has 1/2. Value and error are NaN
    if the chains are too short for their own window.

    For an alternating series, the sum is a small difference of large terms. Such a series x is first transformed to
    y_t = (x_t + a x_{t-k}) / (1 + a), with a = -rho(k) > 0 at the k where it is largest, and again while any
    alternation is left. The spectrum of y at zero frequency is that of x, and its sum has no cancellation, so that
    tau_int(x) = tau_int(y) var(y) / var(x).

    Raises `InputError` unless there are at least 2 finite entries in each chain.
    """
    chains = np.atleast_2d(np.asarray(series, dtype=np.float64))
    if chains.ndim != 2 or chains.shape[1] < 2 or not np.all(np.isfinite(chains)):
        raise InputError("autocorrelation_time: needs a finite series of shape (chains, n) with n at least 2")
    deviations = _centered(chains - chains[0, 0])
    largest = np.abs(deviations).max()
    if largest <= 4 * np.finfo(np.float64).eps * np.abs(chains).max():
        return Estimate(0.5, 0.0)
    # The scale of the series must not matter, nor overflow in squares.
    deviations = deviations / largest
    gamma = _autocovariance(deviations)
    filtered = _filtered(deviations, gamma)
    if filtered is deviations:
        return _windowed(gamma, chains.size, window_factor)
    variance = np.mean(filtered**2)
    if variance <= 1e-28 * gamma[0]:
        return Estimate(0.0, 0.0)
    tau, error = _windowed(_autocovariance(filtered), filtered.size, window_factor)
    ratio = variance / gamma[0]
    # The variance of x has its own error; the error of the sum over y is in `error`.
    rho = gamma[: len(gamma) // 2] / gamma[0]
    squares = 1 + 2 * np.sum(rho[1 : _window(rho, chains.size, window_factor) + 1] ** 2)
    value = max(tau * ratio, 0.0)
    return Estimate(float(value), float(np.hypot(error * ratio, value * np.sqrt(2 * squares / chains.size))))


def _windowed(gamma: np.ndarray, total: int, window_factor: float) -> Estimate:
    """tau_int of an autocovariance with its error."""
    length, rho = len(gamma), gamma / gamma[0]
    window = _window(rho, total, window_factor)
    if window == length or _LEAST_WINDOWS * window > total or 2 * window > length:
        return Estimate(float("nan"), float("nan"))
    corrected = (0.5 + np.sum(rho[1 : window + 1])) * (1 + (2 * window + 1) / total)
    spread = max(window + 0.5 - corrected, 0.5)
    error = abs(corrected) * np.sqrt(4 * spread / total)
    return Estimate(float(max(corrected, 0.0)), float(np.hypot(error, min(corrected, 0.0))))


def _window(rho: np.ndarray, total: int, window_factor: float) -> int:
    """The window W; the length of rho if there is none."""
    window = np.arange(1, len(rho))
    # For alternating series, the sum itself does not show the range of the correlation.
    reach = 2 * np.cumsum(np.abs(rho[1:]))
    tau = np.full(reach.shape, 1e-9)
    np.divide(window_factor, np.log1p(2 / np.maximum(reach, 1e-300)), out=tau, where=reach > 0)
    found = np.flatnonzero(np.exp(-window / tau) < tau / np.sqrt(window * total))
    return int(found[0]) + 1 if len(found) else len(rho)


def _filtered(series: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """The series y of `autocorrelation_time`, or x itself if it does not alternate."""
    for _ in range(_ROUNDS):
        count, length = series.shape
        lags = min(_LAGS, length // 10)
        rho = gamma[1 : lags + 1] / max(gamma[0], np.finfo(np.float64).tiny)
        if lags < 1 or rho.min() > -max(0.1, 4 / np.sqrt(count * length)):
            break
        k, a = int(rho.argmin()) + 1, -float(rho.min())
        series = _centered(series[:, k:] + a * series[:, :-k]) / (1 + a)
        gamma = _autocovariance(series)
    return series


def _centered(chains: np.ndarray) -> np.ndarray:
    return chains - chains.mean()


def _autocovariance(deviations: np.ndarray) -> np.ndarray:
    """Gamma(t) for t < n, averaged over chains, unbiased in the number of pairs; by FFT."""
    count, length = deviations.shape
    size = 2 ** int(np.ceil(np.log2(2 * length)))
    total = np.zeros(length)
    for chain in deviations:
        spectrum = np.fft.rfft(chain, size)
        total += np.fft.irfft(np.abs(spectrum) ** 2, size)[:length]
    return total / (count * np.arange(length, 0, -1))
