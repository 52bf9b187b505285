"""Integrated autocorrelation times of a measurement along Markov chains."""

import numpy as np
from numpy.typing import ArrayLike

from trivmap.errors import InputError
from trivmap.estimate import Estimate

_LEAST_WINDOWS = 25
"""Chains shorter than this many windows say nothing about their own autocorrelation."""


def autocorrelation_time(series: ArrayLike, *, window_factor: float = 1.5) -> Estimate:
    """tau_int = 1/2 + sum_{t=1}^W rho(t), in steps, of a series of shape (chains, n) or (n,).

    Automatic window and error as in hep-lat/0306017: W is the first t with exp(-t/tau) < tau / sqrt(t N), where tau
    is `window_factor` / log((2 r + 1) / (2 r - 1)), r = 1/2 + sum of |rho(t)| up to t; the error is
    tau_int sqrt(4 (W + 1/2 - tau_int) / N), N all steps together. The mean is that of all chains, so that chains which
    disagree have long times; the bias of that mean is taken out. A constant series has 1/2. NaN, value and error,
    where the chains are too short for their own window.

    Raises `InputError` unless there are at least 2 finite entries in each chain.
    """
    chains = np.atleast_2d(np.asarray(series, dtype=np.float64))
    if chains.ndim != 2 or chains.shape[1] < 2 or not np.all(np.isfinite(chains)):
        raise InputError("autocorrelation_time: needs a finite series of shape (chains, n) with n at least 2")
    length = chains.shape[1]
    total, deviations = chains.size, chains - chains.mean()
    gamma = _autocovariance(deviations)
    if gamma[0] <= 1e-24 * max(1.0, float(np.abs(chains).max()) ** 2):
        return Estimate(0.5, 0.0)
    rho = gamma / gamma[0]
    tau_int = 0.5 + np.cumsum(np.concatenate([[0.0], rho[1:]]))
    # Of series that alternate the sum itself says nothing about how far they are correlated.
    reach = 0.5 + np.cumsum(np.concatenate([[0.0], np.abs(rho[1:])]))
    for window in range(1, length):
        tau = window_factor / np.log1p(2 / (2 * reach[window] - 1)) if reach[window] > 0.5 else 1e-9
        if np.exp(-window / tau) < tau / np.sqrt(window * total):
            if _LEAST_WINDOWS * window > total or 2 * window > length:
                break
            corrected = tau_int[window] * (1 + (2 * window + 1) / total)
            spread = max(window + 0.5 - corrected, 0.5)
            return Estimate(float(corrected), float(abs(corrected) * np.sqrt(4 * spread / total)))
    return Estimate(float("nan"), float("nan"))


def _autocovariance(deviations: np.ndarray) -> np.ndarray:
    """Gamma(t) for t < n, averaged over chains, unbiased in the number of pairs; by FFT."""
    count, length = deviations.shape
    size = 2 ** int(np.ceil(np.log2(2 * length)))
    total = np.zeros(length)
    for chain in deviations:
        spectrum = np.fft.rfft(chain, size)
        total += np.fft.irfft(np.abs(spectrum) ** 2, size)[:length]
    return total / (count * np.arange(length, 0, -1))
