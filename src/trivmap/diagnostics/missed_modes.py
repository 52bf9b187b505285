"""Modes of exp(-S) that a map misses and that no symmetry shows: configurations of another sampler under the map.

At configurations of exp(-S)/Z the weights w = exp(-S)/q have a distribution that the proposals of q predict:
P(log w > t) is the share that proposals with log w > t have in the sum of the weights. Where q misses a part of
exp(-S), the weights there are larger than any that the proposals reach, and the predicted share is far too small.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

_FEWEST_ABOVE = 10
"""Proposals above the highest threshold: fewer would not say what share of the weights lies there."""
_ERRORS = 5.0
_COUNTS = 5
"""Configurations more than predicted that every threshold permits: a few rare ones prove nothing."""

_TOLERANCE = 0.1
"""Error of log w: proposals come forward through the map, configurations backward, in its precision and steps."""
_CORRELATED = 4.0
"""2 tau_int of what is compared along the chains, at most: their configurations are thinned out."""
_FEWEST_CHAINS = 2
"""Fewest chains that must lie beyond the proposals as a whole, if the chains do not sample exp(-S) together."""
_RARE = 0.05
"""Largest share of exp(-S) that counts as beyond the proposals for them."""


class MissedModes(NamedTuple):
    """The weights of configurations against those that proposals predict, at the threshold that says most.

    `found`: share of the configurations with log w > `threshold`; `expected`: the share that the proposals predict;
    `missed`: whether more lie there than fluctuations explain.
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
        in_equilibrium: whether the chains as a whole sample exp(-S). If not, they sit in sectors of their own, in
            unknown shares, and only chains that lie beyond the proposals as a whole speak.

    Returns:
        The comparison; NaN thresholds where the weights are not usable.
    """
    logs = np.asarray(proposals, np.float64).ravel()
    logs = np.sort(logs[np.isfinite(logs)])[::-1]
    values = np.asarray(configurations, np.float64)
    # Where the map covers nothing its inverse may overflow.
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
        # The share is known to the fluctuation of the weights above and of all of them.
        uncertainty = expected * np.sqrt(squares[rank - 1] / above[rank - 1] ** 2 + squares[-1] / total**2)
        inside = values > threshold + _TOLERANCE
        found = float(inside.mean())
        if in_equilibrium:
            # The fluctuation that is expected: the one found would hold what is looked for.
            error = np.sqrt(uncertainty**2 + _CORRELATED * expected * (1 - expected) / values.size)
            beyond = found - expected - _ERRORS * error - _COUNTS / values.size
        else:
            whole = int(np.sum(inside.mean(axis=1) > 0.5))
            beyond = (whole - _FEWEST_CHAINS + 0.5) / chains if expected < _RARE else -1.0
        if beyond > excess:
            worst, excess = MissedModes(float(threshold), found, expected, bool(beyond > 0)), beyond
    assert worst is not None
    return worst
