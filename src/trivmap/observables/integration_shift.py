"""The shift of observables by numerical integration: paired differences at the same noise, and their errors.

The density that a continuous flow reports is wrong by a factor exp(delta). This shifts reweighted averages, and those
of the chain alike, by -Cov(O, delta), for any number of proposals. Differences of log-weights do not show the shift: at
the same noise they have the right mean and an arbitrary spread. Reweighted averages at n and at 2n steps over the same
noise do show it: most of their fluctuations cancel, so that few configurations suffice.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trivmap.diagnostics.integration_error import Level
from trivmap.estimate import Estimate
from trivmap.observables.binning import Columns
from trivmap.observables.catalog import CATALOG
from trivmap.observables.trust import LEAST_EFFECTIVE_SAMPLES

REDUCTION = 7
"""Least factor by which twice the steps reduce the shift: 2^p - 1 for a method of order p = 3."""
LARGEST_REMAINDER = 1 / 3
"""Largest integration error left after the correction, in units of an observable's error."""
_SHARE = 0.3
"""Error of a shift in units of the statistical error of the corrected average: in quadrature it adds 4%."""
_BINS = 50
_ANY = 2**30
"""A number of configurations larger than any that is evaluated."""


class Pair(NamedTuple):
    """The same configurations at a number of steps and at twice that number."""

    coarse: Level
    fine: Level


class Shift(NamedTuple):
    """Bin values, shape (bins, columns); their mean is the shift that a pair adds to the averages of the primaries."""

    steps: int
    bins: np.ndarray
    effective_samples: float


def shifts(pairs: Sequence[Pair], columns: Columns) -> list[Shift]:
    """For each pair, reweighted averages at twice the steps minus those at its steps, linearized.

    The sum over pairs of n and 2n, 2n and 4n, ... telescopes to the finest level.
    """
    found = []
    for pair in pairs:
        means, influences = zip(*(_reweighted(level, columns) for level in pair), strict=True)
        influence = influences[1] - influences[0]
        bins = min(_BINS, len(influence))
        length = len(influence) // bins
        binned = influence[: bins * length].reshape(bins, length, -1).mean(axis=1)
        found.append(
            Shift(pair.coarse.steps, means[1] - means[0] + binned - binned.mean(axis=0), effective_samples(pair))
        )
    return found


def _reweighted(level: Level, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Reweighted averages of the primaries (columns,), and the contributions of each configuration (n, columns)."""
    values = columns.catalog.primaries(level.observables)
    # Measurements of a Markov chain's steps have no counterpart here, and no shift.
    table = np.zeros((len(level.log_weight), columns.total))
    for name, where in columns.slices.items():
        if name in values:
            table[:, where] = values[name].reshape(len(table), -1)
    weights = _weights(level)
    table = np.where(weights[:, None] > 0, table, 0.0)
    with np.errstate(invalid="ignore"):  # if all weights are NaN, the averages are too
        means = weights @ table / weights.sum()
        return means, weights[:, None] * (table - means) / weights.mean()


def _usable(level: Level) -> np.ndarray:
    """The log-weights, with -inf for those that are not numbers."""
    return np.where(level.log_weight < np.inf, level.log_weight, -np.inf)


def _weights(level: Level) -> np.ndarray:
    """Weights relative to the largest; all zero if none is a number."""
    logs = _usable(level)
    return np.exp(logs - logs.max()) if np.isfinite(logs.max()) else np.zeros(len(logs))


def log_z_shift(pairs: Sequence[Pair]) -> Estimate:
    """The shift of log Z by finer integration, summed over the pairs; its error includes that of the finest level.

    It is log of the mean weight at twice the steps minus that at the steps, over the same noise. It is NaN if either
    has no usable weight, or too few effective samples.
    """
    value, error, last = 0.0, 0.0, 0.0
    for pair in pairs:
        if not effective_samples(pair) >= LEAST_EFFECTIVE_SAMPLES:
            return Estimate(math.nan, math.nan)
        coarse, fine = (_weights(level) for level in pair)
        largest = _usable(pair.fine).max() - _usable(pair.coarse).max()
        last = float(np.log(fine.mean()) - np.log(coarse.mean()) + largest)
        moved = fine / fine.mean() - coarse / coarse.mean()
        # All pairs share their noise, and their shifts are correlated: the errors add linearly.
        value, error = value + last, error + float(np.std(moved)) / math.sqrt(len(moved))
    return Estimate(value, math.hypot(error, last / REDUCTION))


def effective_samples(pair: Pair) -> float:
    """The effective samples of the worse level: a few weights determine neither a shift nor its error."""
    weights = [_weights(level) for level in pair]
    return min(float(each.sum() ** 2 / np.sum(each**2)) if each.any() else 0.0 for each in weights)


def pairs(levels: Sequence[Level]) -> list[Pair]:
    """Levels of n, 2n, 4n, ... steps, each with its finer neighbor, over the configurations that both have."""
    found = []
    for coarse, fine in itertools.pairwise(sorted(levels, key=lambda level: level.steps)):
        count = min(len(coarse.log_weight), len(fine.log_weight))
        found.append(Pair(coarse.first(count), fine.first(count)))
    return found


class Sufficiency(NamedTuple):
    """The worst case among the scalars: the configurations that a pair needs, and the integration error that remains.

    `configurations`: the number at which the error of the shift is `_SHARE` of the statistical error. `remainder`: the
    integration error at twice the steps, in units of the statistical error.
    """

    configurations: int
    remainder: float


def sufficiency(pair: Pair, independent: float) -> Sufficiency:
    """The sufficiency of a pair for averages over `independent` independent configurations."""
    scalars = {name: values for name, values in CATALOG.primaries(pair.fine.observables).items() if values.ndim == 1}
    slices = {name: slice(k, k + 1) for k, name in enumerate(scalars)}
    columns = Columns(slices, dict.fromkeys(slices, ()), 0, len(slices), CATALOG)
    (before, coarse), (means, fine) = (_reweighted(level, columns) for level in pair)
    error = np.std(fine, axis=0) / np.sqrt(independent)
    effective = effective_samples(pair)
    if not effective > 0 or not np.all(np.isfinite(means)):
        return Sufficiency(_ANY, 0.0)
    known = error > np.finfo(np.float64).eps * np.abs(means)
    moved = np.std(fine - coarse, axis=0)
    shift = np.abs(means - before)
    if not known.any():
        return Sufficiency(len(fine), 0.0)
    needed = float(np.max((moved[known] / (_SHARE * error[known])) ** 2))
    needed = max(needed, len(fine) * LEAST_EFFECTIVE_SAMPLES / effective)
    return Sufficiency(int(np.ceil(min(needed, _ANY))), float(np.max(shift[known] / error[known])) / REDUCTION)
