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


class Cost(NamedTuple):
    """What a run had spent where it was first seen at the target, and what it had spent when it was not there yet."""

    value: float
    above: float


def cost_exponent(costs: Mapping[int, Sequence[Cost | None]]) -> Exponent | None:
    """The weighted straight line through the means of log(cost) over seeds, against log(L).

    `costs` are those of the seeds at every L, None for a run that did not reach the target. A lattice with such a run
    is left out: the mean over the others would be too small. The variance of a mean is s^2 / n + g^2. The spread s over
    seeds is pooled over all lattices; g^2, the mean of log(value / above)^2 / 12, comes from the distance between
    evaluations, which seeds have in common. With a single seed everywhere it is the mean g^2 of all lattices. The error
    of the exponent is widened by sqrt(chi^2 / degrees of freedom) where that exceeds 1. None with fewer than two
    lattices, or with two and one seed: there would be no error.
    """
    whole = {L: [c for c in each if c is not None] for L, each in costs.items() if each and None not in each}
    censored = tuple(sorted(L for L, each in costs.items() if each and None in each))
    extents = tuple(sorted(whole))
    if len(extents) < 2:
        return None
    logs = [np.log([cost.value for cost in whole[L]]) for L in extents]
    counts = np.array([len(each) for each in logs])
    means = np.array([each.mean() for each in logs])
    spread_degrees, degrees = int((counts - 1).sum()), len(extents) - 2
    if spread_degrees == 0 and degrees == 0:
        return None
    widths = np.array([np.mean([np.log(cost.value / cost.above) ** 2 for cost in whole[L]]) for L in extents]) / 12
    if spread_degrees:
        # From the first of them: seeds that agree to the last then have no spread, not that of rounding.
        pooled = sum(len(each) * np.var(each - each[0]) for each in logs)
        variances = pooled / spread_degrees / counts + widths
    else:
        variances = np.full(len(extents), widths.mean())
    # Without any variance the scatter about the line is the only measure.
    known = bool(np.all(variances > 0))
    weights = 1 / variances if known else counts.astype(float)
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
