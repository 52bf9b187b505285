"""Exponents of the growth of costs with the lattice, from several seeds, some of which miss the target."""

from collections.abc import Mapping, Sequence
from math import isinf
from typing import NamedTuple

import numpy as np

from trivmap.estimate import Estimate


class Exponent(NamedTuple):
    """Cost = `amplitude` L^`exponent`, the lattices in the fit, and those that are left out as censored.

    `lower_bound`: on a lattice larger than those of the fit, a run spent more than the power law predicts and missed
    the target, so the cost grows faster. Otherwise a censored lattice does not constrain the law.
    """

    exponent: Estimate
    amplitude: float
    chi_squared: float
    degrees: int
    extents: tuple[int, ...]
    censored: tuple[int, ...]
    lower_bound: bool


class Cost(NamedTuple):
    """A cost that is only known to lie in an interval: more than `above`, at most `value`.

    They are the costs of a run at its last evaluation below the target and at the first beyond it. If a run spent
    `above` and never reached the target, `value` is infinite.
    """

    above: float
    value: float


def cost_exponent(costs: Mapping[int, Sequence[Cost]]) -> Exponent | None:
    """The exponent from the weighted straight line through the means of log(cost) over seeds, against log(L).

    `costs` are those of the seeds at every L; log(cost) is the middle of its interval, (log(above) + log(value)) / 2. A
    lattice with a run that did not reach the target is left out: the mean over the others would be too small. The
    variance of a mean is s^2 / n + g^2. The spread s over seeds is pooled over all lattices; g^2, the mean of
    log(value / above)^2 / 12, is the variance of a cost that is uniform in its interval, common to all seeds. With a
    single seed everywhere it is the mean g^2 of all lattices. The error of the exponent is widened by
    sqrt(chi^2 / degrees of freedom) if that exceeds 1. None if there would be no error: with fewer than two lattices,
    with two and one seed, or with two and no variance at all.
    """
    open_ = {L for L, each in costs.items() if any(isinf(cost.value) for cost in each)}
    whole = {L: each for L, each in costs.items() if each and L not in open_}
    extents = tuple(sorted(whole))
    if len(extents) < 2:
        return None
    logs = [np.array([(np.log(cost.above) + np.log(cost.value)) / 2 for cost in whole[L]]) for L in extents]
    counts = np.array([len(each) for each in logs])
    means = np.array([each.mean() for each in logs])
    spread_degrees, degrees = int((counts - 1).sum()), len(extents) - 2
    widths = np.array([np.mean([np.log(cost.value / cost.above) ** 2 for cost in whole[L]]) for L in extents]) / 12
    if spread_degrees:
        # Relative to the first: seeds that agree exactly then have no spread, instead of a rounding error.
        pooled = sum(len(each) * np.var(each - each[0]) for each in logs)
        variances = pooled / spread_degrees / counts + widths
    else:
        variances = np.full(len(extents), widths.mean())
    # Without any variance the scatter about the line is the only measure.
    known = bool(np.all(variances > 0))
    if degrees == 0 and not (known and spread_degrees):
        return None
    weights = 1 / variances if known else counts.astype(float)
    x = np.log(extents)
    design = np.stack([np.ones_like(x), x], axis=1)
    covariance = np.linalg.inv(design.T @ (weights[:, None] * design))
    offset, slope = covariance @ (design.T @ (weights * means))
    chi_squared = float((weights * (means - offset - slope * x) ** 2).sum())
    scale = chi_squared / degrees if degrees else 0.0
    error = float(np.sqrt(covariance[1, 1] * (max(1.0, scale) if known else scale)))
    beyond = [(L, cost.above) for L in open_ if extents[-1] < L for cost in costs[L] if isinf(cost.value)]
    return Exponent(
        Estimate(float(slope), error),
        float(np.exp(offset)),
        chi_squared if known else float("nan"),
        degrees,
        extents,
        tuple(sorted(open_)),
        any(spent > np.exp(offset) * L**slope for L, spent in beyond),
    )
