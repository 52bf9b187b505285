"""Acceptance, effective sample size and log Z of a flow from its log-weights, in float64 on the host.

Log-weights are log w = -S - log q of independent proposals. All errors are those of the linearized estimator
(influence functions), from independent proposals; a batch with a NaN or an infinite weight gives NaN, never a number.
A few large weights dominate the effective sample size and log Z. Their errors are enlarged if the mean weight is far
from normal, see `tails.enlargement`: in that case the plain error may be too small by any factor.
"""

import numpy as np
from numpy.typing import ArrayLike

from trivmap.diagnostics.tails import enlargement, skewness_of_mean
from trivmap.estimate import Estimate

_UNKNOWN = Estimate(float("nan"), float("nan"))


def acceptance(log_weights: ArrayLike) -> Estimate:
    """Acceptance of the independence Metropolis chain in equilibrium: E_{x~p, y~q} min(1, w(y)/w(x)).

    It is estimated without running a chain by sum_{i != j} min(w_i, w_j) / ((n - 1) sum w). For normal log w with
    variance s^2 it equals erfc(s/2).
    """
    weights = _weights(log_weights)
    if weights is None:
        return _UNKNOWN
    n = len(weights)
    order = np.argsort(weights)
    ordered = weights[order]
    below = np.cumsum(ordered) - ordered
    smaller = np.empty(n)
    smaller[order] = (below + ordered * np.arange(n - 1, -1, -1)) / (n - 1)
    mean = weights.mean()
    value = smaller.mean() / mean
    return Estimate(float(value), _error((2 * (smaller - smaller.mean()) - value * (weights - mean)) / mean))


def effective_sample_size(log_weights: ArrayLike) -> Estimate:
    """(sum w)^2 / (n sum w^2), in [0, 1], from proposals of the flow: blind to modes that the flow never proposes."""
    weights = _weights(log_weights)
    if weights is None:
        return _UNKNOWN
    mean, square = weights.mean(), np.mean(weights**2)
    value = mean**2 / square
    error = _error(value * (2 * (weights / mean - 1) - (weights**2 / square - 1)))
    return Estimate(float(value), error * _enlargement(log_weights))


def forward_effective_sample_size(log_weights: ArrayLike, tau_int: float = 0.5) -> Estimate:
    """The same number from configurations of the TARGET: 1 / (E_p[w] E_p[1/w]); it sees modes that the flow misses.

    `tau_int` is the autocorrelation time (1/2 for independent ones) of the configurations; it scales the error. If q
    has much heavier tails than the target, E_p[1/w] is a harmonic mean that few samples underestimate, and the value
    is too high: judge it together with the reverse one.
    """
    logs = np.asarray(log_weights, dtype=np.float64).ravel()
    weights, inverse = _weights(logs), _weights(-logs)
    if weights is None or inverse is None:
        return _UNKNOWN
    # Each is relative to its own maximum, so neither can overflow.
    value = np.exp(logs.min() - logs.max()) / (weights.mean() * inverse.mean())
    influence = -value * (weights / weights.mean() - 1 + inverse / inverse.mean() - 1)
    return Estimate(float(value), _error(influence) * float(np.sqrt(2 * tau_int)))


def log_z(log_weights: ArrayLike) -> Estimate:
    """log Z = log of the mean weight, Z the integral of exp(-S) d^V phi (arXiv:2007.07115)."""
    weights = _weights(log_weights)
    if weights is None:
        return _UNKNOWN
    value = np.log(weights.mean()) + np.max(np.asarray(log_weights, dtype=np.float64))
    return Estimate(float(value), _error(weights / weights.mean() - 1) * _enlargement(log_weights))


def tau_int_from_rejections(accepted: ArrayLike) -> Estimate:
    """tau_int = 1/2 + sum_t p_t, p_t the frequency of t rejections in a row (arXiv:1904.12072).

    `accepted` has shape (chains, n). It is the time of an observable that is independent of the weights; an
    observable that is large where the weights are large has a longer time. The error is the jackknife over about 64
    stretches. It is NaN if a chain never accepts, which only gives a lower bound.
    """
    flags = np.atleast_2d(np.asarray(accepted, dtype=bool))
    if flags.size < 2 or not flags.any(axis=1).all():
        return _UNKNOWN
    per_chain = min(max(2, 64 // len(flags)), flags.shape[1])
    # A window of t rejections ending at step i exists for every t up to the length of the run that i is in.
    stretches = [part for chain in flags for part in np.array_split(_run_lengths(chain), per_chain)]
    sums = np.array([part.sum() for part in stretches], dtype=np.float64)
    sizes = np.array([len(part) for part in stretches])
    value = sums.sum() / sizes.sum()
    without = (sums.sum() - sums) / (sizes.sum() - sizes)
    blocks = len(stretches)
    error = np.sqrt((blocks - 1) / blocks * np.sum((without - without.mean()) ** 2))
    return Estimate(float(0.5 + value), float(error))


def _run_lengths(accepted: np.ndarray) -> np.ndarray:
    """At every step, the number of successive rejections that end there."""
    steps = np.arange(1, len(accepted) + 1)
    return steps - np.maximum.accumulate(np.where(accepted, steps, 0))


def _weights(log_weights: ArrayLike) -> np.ndarray | None:
    """Weights relative to the largest, or None if they are not usable."""
    logs = np.asarray(log_weights, dtype=np.float64).ravel()
    if len(logs) < 2 or np.isnan(logs).any() or not np.isfinite(logs.max()):
        return None
    return np.exp(logs - logs.max())


def _enlargement(log_weights: ArrayLike) -> float:
    """The factor on errors of averages over these weights; infinite if their acceptance is zero to all digits."""
    return enlargement(skewness_of_mean(acceptance(log_weights).value, np.size(log_weights)))


def _error(influence: np.ndarray) -> float:
    return float(np.std(influence) / np.sqrt(len(influence)))
