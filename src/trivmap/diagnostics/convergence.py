"""The agreement of chains with each other: the split R-hat."""

import numpy as np
from numpy.typing import ArrayLike

LIMIT = 1.1
"""R-hat above which the chains disagree."""


def r_hat(samples: ArrayLike) -> float:
    """Split R-hat of samples (chains, n): 1 for chains that have converged (arXiv:1903.08008).

    Every chain is cut into halves of h samples; R-hat^2 = (h - 1) / h + B / W with W the mean of their variances and B
    the variance of their means, about 1 + 1 / (independent samples in a half) for halves of one distribution. The
    result is the larger of two numbers: that of the samples, and that of their normal scores by rank, which also
    detects a disagreement that a few large values would hide.

    It is NaN if a chain has fewer than 4 samples, one is not finite, or all are equal; infinite for different
    constants.
    """
    values = np.asarray(samples, np.float64)
    half = values.shape[1] // 2
    if half < 2 or not np.all(np.isfinite(values)):
        return float("nan")
    split = np.concatenate([values[:, :half], values[:, -half:]])
    from scipy.special import ndtri
    from scipy.stats import rankdata  # takes longer to import than all of trivmap

    ranks = rankdata(split).reshape(split.shape)
    scores = ndtri((ranks - 0.375) / (split.size + 0.25))
    return max(_ratio(split), _ratio(scores))


def disagreement_reason(value: float, name: str = "magnetization", limit: float = LIMIT) -> str | None:
    """A reason to distrust chains whose R-hat of one measurement is `value`, if it exceeds `limit`; otherwise None."""
    if value <= limit:
        return None
    if np.isnan(value):
        return f"whether the chains agree about {name} is unknown: they are too short, or it is not a number"
    return f"the chains disagree about {name} (R-hat {value:.3g}): they are too short, or do not leave their sectors"


def split_r_hat(half_means: ArrayLike, variance: float, length: int) -> float:
    """Split R-hat of the means of half-chains, `length` samples each, where all samples together have `variance`.

    As `r_hat` of the samples, without ranks. It is NaN if nothing fluctuates or a number is not finite.
    """
    means = np.asarray(half_means, np.float64)
    within = variance - float(np.var(means))
    if not (np.all(np.isfinite(means)) and variance > 0) or length < 2:
        return float("nan")
    if within <= 0:
        return float("inf")
    within *= length / (length - 1)
    return float(np.sqrt((length - 1) / length + float(np.var(means, ddof=1)) / within))


def _ratio(split: np.ndarray) -> float:
    half = split.shape[1]
    within = np.mean(np.var(split, axis=1, ddof=1))
    between = np.var(np.mean(split, axis=1), ddof=1)
    if within == 0:
        # Chains that do not move cannot show agreement.
        return float("nan") if between == 0 else float("inf")
    return float(np.sqrt((half - 1) / half + between / within))
