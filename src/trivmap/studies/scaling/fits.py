"""Exponents: how a cost grows with the lattice, from runs with several seeds, some of which never got there."""

from collections.abc import Mapping, Sequence
from math import isinf
from typing import NamedTuple

import numpy as np

from trivmap.estimate import Estimate


class Exponent(NamedTuple):
    """Cost = `amplitude` L^`exponent`; which lattices the fit rests on, and which are left out as censored.

    `lower_bound`: at a lattice above those of the fit a run spent more than the law says and did not get there, so
    that the cost grows faster. Otherwise a censored lattice says nothing about the law.
    """

    exponent: Estimate
    amplitude: float
    chi_squared: float
    degrees: int
    extents: tuple[int, ...]
    censored: tuple[int, ...]
    lower_bound: bool


class Cost(NamedTuple):
    """A cost of which only an interval is known: more than `above`, at most `value`.

    They are what a run had spent at its last evaluation below the target, and at the first beyond it; infinite, of a
    run that never got there and had spent `above`.
    """

    above: float
    value: float


def cost_exponent(costs: Mapping[int, Sequence[Cost]]) -> Exponent | None:
    """The weighted straight line through the means of log(cost) over seeds, against log(L).

    `costs` are those of the seeds at every L, log(cost) the middle of its interval, (log(above) + log(value)) / 2. A
    lattice with a run that did not reach the target is left out: the mean over the others would be too small. The
    variance of a mean is s^2 / n + g^2. The spread s over seeds is pooled over all lattices; g^2, the mean of
    log(value / above)^2 / 12, is that of a cost anywhere in its interval, which seeds have in common. With a single
    seed everywhere it is the mean g^2 of all lattices. The error of the exponent is widened by sqrt(chi^2 / degrees of
    freedom) where that exceeds 1. None where there would be no error: with fewer than two lattices, with two and one
    seed, or with two and no variance at all.
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
        # From the first of them: seeds that agree to the last then have no spread, not that of rounding.
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
