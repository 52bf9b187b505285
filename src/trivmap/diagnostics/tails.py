"""The tail of the weights, which decides whether averages over a finite sample can be trusted.

Averages over weights are ratios of sums that a few large weights may dominate. A sample that lacks the large
weights looks good and is wrong, so no rule may depend only on how good it looks. Two numbers decide: the shape of
the tail, and how far the sampling distribution of the mean weight is from normal.
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erfcinv

RAW_AVERAGES = 0.5
"""Largest Pareto shape at which weights have a finite variance, and raw averages over them a finite error."""
SMOOTHED_AVERAGES = 0.7
"""Largest Pareto shape at which even smoothed averages converge at sizes in use (arXiv:1507.02646)."""
LARGEST_SKEWNESS = 0.12
"""Largest skewness of the mean weight at which error bars of averages over weights and over chains cover.

Calibrated on one-dimensional phi^4 with exact answers, see docs/reference/conventions.md.
"""
FEWEST_JUDGES = 100
"""Fewest weights for an estimate of the skewness."""
_LEAST_TAIL = 5


def pareto_shape(log_weights: ArrayLike) -> float:
    """Shape k of the generalized Pareto distribution fitted to the largest weights (arXiv:1507.02646).

    P(w - u > x) ~ (1 + k x / sigma)^(-1/k) above a threshold u. The fit uses the largest min(n / 5, 3 sqrt(n)) of n
    weights, by the estimator of Zhang and Stephens, Technometrics 51 (2009) 316, with the weak prior of
    arXiv:1507.02646 towards 1/2. Moments of order below 1/k exist: k < 1/2 means a finite variance. Bounded weights
    have k < 0.

    Args:
        log_weights: log w of independent proposals, any shape; a constant does not matter.

    Returns:
        The shape; -inf if the largest weights are all equal, NaN if there are fewer than 25 weights or one is NaN or
        +inf.
    """
    logs = np.asarray(log_weights, np.float64).ravel()
    count = int(min(len(logs) / 5, 3 * math.sqrt(len(logs))))
    if count < _LEAST_TAIL or not np.all(logs < np.inf):
        return math.nan
    largest = np.sort(np.partition(logs, len(logs) - count - 1)[-(count + 1) :])
    if not np.isfinite(largest[-1]):
        return math.nan
    weights = np.exp(largest - largest[-1])
    excess = weights[1:] - weights[0]
    excess = excess[excess > 0]
    if len(excess) < _LEAST_TAIL:
        return -math.inf
    return _zhang_stephens(excess)


def largest_shape(count: int) -> float:
    """The Pareto shape above which the variance of `count` weights is infinite beyond doubt, at most 0.7.

    It is 1/2 plus two standard deviations of the estimate, each (1 + k) / sqrt(M) for M weights in the tail.
    """
    tail = max(min(count / 5, 3 * math.sqrt(count)), 1.0)
    return min(SMOOTHED_AVERAGES, RAW_AVERAGES + 2 * (1 + RAW_AVERAGES) / math.sqrt(tail))


def skewness_of_mean(acceptance: float, count: int) -> float:
    """Skewness of the mean of `count` normalized weights, if they are log-normal with this acceptance.

    acceptance = erfc(s / 2) gives the variance s^2 of log w, and with e = exp(s^2) the skewness of one weight is
    (e + 2) sqrt(e - 1); that of the mean is smaller by sqrt(count). It measures how far averages are from
    normal, and their error bars from covering: an average in units of its error is off by about -skewness / 2 on
    average. The sample's own third moment would not work: the samples that are wrong lack exactly the large weights.
    """
    acceptance = min(acceptance, 1.0)  # For equal weights, rounding may give more than 1.
    if not acceptance > 0 or count < 1:
        return math.inf if acceptance <= 0 else math.nan
    variance = (2 * float(erfcinv(acceptance))) ** 2
    if variance > 100:
        return math.inf
    excess = math.expm1(variance)
    return (excess + 3) * math.sqrt(excess) / math.sqrt(count)


def enlargement(skewness: float) -> float:
    """Factor 1 + skewness^2 / 2 on the error of an average over weights: near the limit the plain error is small."""
    return 1 + skewness**2 / 2


def tail_reason(shape: float, skewness: float, count: int) -> str | None:
    """The reason why averages over `count` weights, or over a chain of them, cannot be trusted, or None."""
    limit = largest_shape(count)
    if math.isnan(shape):
        return "too few usable weights to judge their tail"
    if shape > limit:
        return (
            f"the largest weights have a Pareto shape of {shape:.2f}, above {limit:.2f}, so that their variance does "
            "not exist; train the map further"
        )
    if not skewness < LARGEST_SKEWNESS:
        size = "unknown" if not math.isfinite(skewness) else f"{skewness:.2g}"
        return (
            f"the weights vary too much for {count} proposals (skewness of their mean {size}, at most "
            f"{LARGEST_SKEWNESS:g}); draw more, or train the map further"
        )
    return None


def _zhang_stephens(excess: np.ndarray) -> float:
    """The shape for excesses over the threshold in ascending order."""
    count, candidates = len(excess), 30 + int(math.sqrt(len(excess)))
    quartile = excess[int(count / 4 + 0.5) - 1]
    theta = 1 / excess[-1] + (1 - np.sqrt(candidates / (np.arange(1, candidates + 1) - 0.5))) / (3 * quartile)
    shapes = np.mean(np.log1p(-theta[:, None] * excess), axis=1)
    log_likelihood = count * (np.log(-theta / shapes) - shapes - 1)
    posterior = np.exp(log_likelihood - log_likelihood.max())
    best = float(theta @ posterior / posterior.sum())
    shape = float(np.mean(np.log1p(-best * excess)))
    return (count * shape + 10 * 0.5) / (count + 10)
