"""Exponents: how a cost grows with the lattice, from runs with several seeds, some of which never got there."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from trivmap.estimate import Estimate


class Exponent(NamedTuple):
    """Cost = `amplitude` L^`exponent`; which lattices the fit rests on, and which are left out as censored.

    Where a lattice above those of the fit is censored, the law is cut off by the budget and the exponent can only be
    too small: `lower_bound`.
    """

    exponent: Estimate
    amplitude: float
    chi_squared: float
    degrees: int
    extents: tuple[int, ...]
    censored: tuple[int, ...]
    lower_bound: bool


def cost_exponent(costs: Mapping[int, Sequence[float | None]]) -> Exponent | None:
    """The weighted straight line through the means of log(cost) over seeds, against log(L).

    `costs` are those of the seeds at every L, None for a run that did not reach the target. A lattice with such a run
    is left out: the mean over the others would be too small. The error of a mean comes from the spread over seeds,
    pooled over all lattices; with a single seed everywhere, from the scatter about the line. The error of the exponent
    is widened by sqrt(chi^2 / degrees of freedom) where that exceeds 1. None with fewer than two lattices, or with two
    and one seed: there would be no error.
    """
    whole = {L: np.log([c for c in each if c is not None]) for L, each in costs.items() if each and None not in each}
    censored = tuple(sorted(L for L, each in costs.items() if each and None in each))
    extents = tuple(sorted(whole))
    if len(extents) < 2:
        return None
    counts = np.array([len(whole[L]) for L in extents])
    means = np.array([whole[L].mean() for L in extents])
    spread_degrees, degrees = int((counts - 1).sum()), len(extents) - 2
    if spread_degrees == 0 and degrees == 0:
        return None
    pooled = sum(float(((whole[L] - whole[L].mean()) ** 2).sum()) for L in extents)
    variance = pooled / spread_degrees if spread_degrees else 1.0
    # Seeds that agree to the last configuration leave the scatter about the line as the only measure.
    known = spread_degrees > 0 and variance > 0
    weights = counts / (variance if known else 1.0)
    x = np.log(extents)
    design = np.stack([np.ones_like(x), x], axis=1)
    covariance = np.linalg.inv(design.T @ (weights[:, None] * design))
    offset, slope = covariance @ (design.T @ (weights * means))
    chi_squared = float((weights * (means - offset - slope * x) ** 2).sum())
    scale = chi_squared / degrees if degrees else 0.0
    error = float(np.sqrt(covariance[1, 1] * (max(1.0, scale) if known else scale)))
    return Exponent(
        Estimate(float(slope), error),
        float(np.exp(offset)),
        chi_squared if known else float("nan"),
        degrees,
        extents,
        censored,
        bool(censored) and censored[-1] > extents[-1],
    )
