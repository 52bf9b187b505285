"""Detection of modes of exp(-S) that a map misses and no symmetry reveals, by configurations of another sampler.

At configurations of exp(-S)/Z the weights w = exp(-S)/q have a distribution that the proposals of q predict:
P(log w > t) is the share of proposals with log w > t in the sum of the weights. If q misses a part of exp(-S), the
weights there are larger than any that the proposals reach, and the predicted share is far too small.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

_FEWEST_ABOVE = 10
"""Proposals above the highest threshold: fewer would not determine the share of the weights there."""
_ERRORS = 5.0
_COUNTS = 5
"""Excess configurations that every threshold permits: a few rare ones prove nothing."""

_TOLERANCE = 0.1
"""Error of log w: proposals pass the map forward, configurations backward, with its precision and steps."""
_CORRELATED = 4.0
"""Largest 2 tau_int of the compared numbers along the chains, whose configurations are thinned."""
_FEWEST_CHAINS = 2
"""Fewest chains that must lie entirely beyond the proposals, if the chains do not sample exp(-S) together."""
_RARE = 0.05
"""Largest predicted share of exp(-S) at which such a chain counts as beyond the proposals."""


class MissedModes(NamedTuple):
    """The weights of configurations compared with the prediction of proposals, at the most significant threshold.

    `found`: share of the configurations with log w > `threshold`; `expected`: the share that the proposals predict;
    `missed`: true if there are more than fluctuations explain.
    """

    threshold: float
    found: float
    expected: float
    missed: bool


def missed_modes(proposals: ArrayLike, configurations: ArrayLike, *, in_equilibrium: bool = True) -> MissedModes:
    """Compare log-weights of configurations of the target with those of the map's own proposals.

    Args:
        proposals: log w of independent proposals, any shape.
        configurations: log w, up to the same constant, of configurations from Markov chains, shape (chains, n).
        in_equilibrium: true if the chains together sample exp(-S). If not, they sit in separate sectors with unknown
            shares, and only chains that lie entirely beyond the proposals count.

    Returns:
        The comparison; the threshold is NaN if the weights are not usable.
    """
    logs = np.asarray(proposals, np.float64).ravel()
    logs = np.sort(logs[np.isfinite(logs)])[::-1]
    values = np.asarray(configurations, np.float64)
    # Outside the region that the map covers, its inverse may overflow.
    values = np.where(np.isnan(values), np.inf, values)
    if len(logs) <= _FEWEST_ABOVE:
        return MissedModes(float("nan"), float("nan"), float("nan"), False)
    weights = np.exp(logs - logs[0])
    total, above = weights.sum(), np.cumsum(weights)
    squares = np.cumsum(weights**2)
    chains = len(values)
    worst, excess = None, -np.inf
    ranks = np.unique(np.geomspace(_FEWEST_ABOVE, max(_FEWEST_ABOVE, len(logs) // 2), 12).astype(int))
    for rank in ranks:
        threshold, expected = logs[rank], float(above[rank - 1] / total)
        # The error of the share comes from the fluctuations of the weights above the threshold and of all weights.
        uncertainty = expected * np.sqrt(squares[rank - 1] / above[rank - 1] ** 2 + squares[-1] / total**2)
        inside = values > threshold + _TOLERANCE
        found = float(inside.mean())
        if in_equilibrium:
            # The expected fluctuation: the observed one would include the signal.
            error = np.sqrt(uncertainty**2 + _CORRELATED * expected * (1 - expected) / values.size)
            beyond = found - expected - _ERRORS * error - _COUNTS / values.size
        else:
            whole = int(np.sum(inside.mean(axis=1) > 0.5))
            beyond = (whole - _FEWEST_CHAINS + 0.5) / chains if expected < _RARE else -1.0
        if beyond > excess:
            worst, excess = MissedModes(float(threshold), found, expected, bool(beyond > 0)), beyond
    assert worst is not None
    return worst
