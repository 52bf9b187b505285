"""Functions of means: their values, their derivatives with respect to the means, and their bias by curvature."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from trivmap.lattice import Lattice
from trivmap.observables.binning import Columns
from trivmap.observables.catalog import CATALOG
from trivmap.observables.estimators import gradient
from trivmap.observables.observable import FunctionOfMeans

NOT_ANALYTIC = (
    "its function is not analytic, so it has no error: its derivative by a complex step differs from that by a real "
    "step; write it without abs, real, float and the like"
)
_MOST_JACKKNIFE = 200
"""Most groups of bins for leave-one-out estimates."""
_DIRECTIONS = 8
"""Number of directions in which a function is tested."""


class Linearized(NamedTuple):
    """A function f at the means: f, df/dx of shape (*f.shape, columns), and the bias from its curvature."""

    value: np.ndarray
    jacobian: np.ndarray
    bias: np.ndarray


def linearized(each: FunctionOfMeans, columns: Columns, block: np.ndarray, lattice: Lattice) -> Linearized | str:
    """The function at the means of bin values (chains, bins, columns), or the reason why a user's function fails."""

    def function(point: np.ndarray) -> np.ndarray:
        return np.asarray(each.function(columns.split(point), lattice))

    point = block.mean(axis=(0, 1))
    if each.name in CATALOG:
        return Linearized(function(point), gradient(function, point), curvature_bias(function, block))
    try:
        found = Linearized(function(point), gradient(function, point), curvature_bias(function, block))
        return found if _is_analytic(function, found.jacobian, point, block) else NOT_ANALYTIC
    except Exception as error:
        return f"its function fails ({type(error).__name__}: {error})".splitlines()[0]


def curvature_bias(function: Callable[[np.ndarray], np.ndarray], block: np.ndarray) -> np.ndarray:
    """The jackknife bias of f(means) from the curvature of f: (n - 1) (mean of f without one bin - f)."""
    block = block.reshape(-1, block.shape[-1])
    count = min(len(block), _MOST_JACKKNIFE)
    usable = len(block) // count * count
    groups = block[:usable].reshape(count, -1, block.shape[1]).mean(axis=1)
    without = (groups.sum(axis=0) - groups) / (count - 1)
    values = np.mean([function(point) for point in without], axis=0)
    return np.asarray((count - 1) * (values - function(groups.mean(axis=0))))


def _is_analytic(
    function: Callable[[np.ndarray], Any], jacobian: np.ndarray, point: np.ndarray, block: np.ndarray
) -> bool:
    """True if derivatives by complex and by real steps agree, in directions in which the means fluctuate."""
    rounding = 1e-13 * np.abs(np.asarray(function(point)))
    deviations = block.reshape(-1, len(point)) - point
    for direction in deviations[:: max(1, len(deviations) // _DIRECTIONS)][:_DIRECTIONS]:
        step = 1e-4 * direction
        by_real = np.asarray(function(point + step)) - np.asarray(function(point - step))
        by_complex = 2 * jacobian @ step
        known = np.isfinite(by_real) & np.isfinite(by_complex)
        scale = 2 * np.abs(jacobian) @ np.abs(step) + np.abs(by_real)
        if np.any((np.abs(by_real - by_complex) > 1e-2 * scale + rounding) & known):
            return False
    return True
