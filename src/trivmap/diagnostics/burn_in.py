"""Check, from the weights alone, that chains of independence Metropolis have forgotten their starts."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

LARGEST_BIAS = 0.02
"""Largest estimate of the bias from the starts, in units of the statistical error of the chain average."""


class BurnIn(NamedTuple):
    """The verdict of the weights on chains of independence Metropolis that start at a proposal.

    `tau_int`: autocorrelation time, in steps, of an observable that is independent of the weights. `bias`: bound on the
    remaining bias from the starts, in units of the statistical error of the average over all chains. `warmup`: the
    warm-up that would make it small enough.
    """

    tau_int: float
    bias: float
    warmup: int

    @property
    def reason(self) -> str | None:
        """The reason why averages over the chains cannot be trusted, or None."""
        if self.bias <= LARGEST_BIAS:
            return None
        return (
            f"the chains still remember their starts, by up to {self.bias:.2g} of their statistical error; draw fewer "
            f"and longer chains, or leave out more of each at its start ({self.warmup} steps)"
        )


def burn_in(log_weights: ArrayLike, *, chains: int, steps: int, warmup: int) -> BurnIn:
    """The bias of chain averages from their starts.

    A chain at x rejects with probability r(x) = 1 - E_q min(1, w/w(x)). Two chains that see the same proposals and
    uniform numbers become one as soon as the chain of larger weight accepts. A chain that starts at a proposal and a
    chain in equilibrium can begin at the same configuration, except for the part by which p = exp(-S)/Z exceeds q,
    where the weights are the larger ones. They therefore differ after k steps with probability at most

        T(k) = integral of max(p(x) - q(x), 0) r(x)^k,

    which the weights of the proposals give (compare Smith and Tierney, "Exact transition probabilities for the
    independence Metropolis sampler", 1996). The mean of T(k) over the measured steps estimates the bias of an average,
    in units of the spread of the observable; if the observable's mean under q is several spreads off, the bias is a few
    times as large. The statistical error in these units is sqrt(2 tau_int / N).

    Args:
        log_weights: log w of all proposals, any shape, without NaN and +inf.
        chains: number of chains.
        steps: steps of each chain, warm-up included.
        warmup: steps at the start of each chain that are left out.
    """
    if warmup >= steps:
        return BurnIn(math.nan, math.inf, warmup)
    logs = np.sort(np.asarray(log_weights, np.float64).ravel())
    weights = np.exp(logs - logs[-1])
    weights = weights[weights > 0]
    count = len(weights)
    below = np.cumsum(weights)
    rejection = np.clip(1 - (below / weights + np.arange(count - 1, -1, -1)) / len(logs), 0.0, 1.0)
    target = weights / below[-1]
    proposed = np.full(count, 1 / len(logs))
    # The excess of exp(-S)/Z over q, where the weights are the larger ones of every pair.
    larger = np.maximum(target - proposed, 0.0)
    staying = rejection / np.maximum(1 - rejection, 1 / len(logs))
    tau_int = 0.5 + float(target @ staying)

    # Grouped by rejection probability, so that the sums over k cost nothing.
    edges = np.linspace(0, 1, 2049)
    which = np.clip(np.searchsorted(edges, rejection, side="right") - 1, 0, len(edges) - 2)
    mass = np.bincount(which, weights=larger, minlength=len(edges) - 1)
    level = np.bincount(which, weights=larger * rejection, minlength=len(edges) - 1) / np.maximum(mass, 1e-300)
    mass, level = mass[mass > 0], np.minimum(level[mass > 0], 1 - 1 / len(logs))

    def bias(start: int) -> float:
        measured = steps - start
        left = float(mass @ ((level**start - level**steps) / (1 - level))) / measured
        return left / math.sqrt(2 * tau_int / (chains * measured))

    needed = _first(bias, 0, steps - 1) if bias(warmup) > LARGEST_BIAS else warmup
    return BurnIn(tau_int, bias(warmup), needed)


def _first(bias, low: int, high: int) -> int:
    """The least start with a bias within the limit, by bisection; `high` if there is none."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if bias(middle) <= LARGEST_BIAS else (middle + 1, high)
    return high
