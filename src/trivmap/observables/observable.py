"""Observables: their names, their definitions in terms of measurements, and facts that are known in advance."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trivmap.lattice import Lattice

Means = Mapping[str, Any]
NOT_A_NUMBER = "it is not a number"


@dataclass(frozen=True, kw_only=True)
class Observable:
    """A number, or an array of numbers, that an ensemble of configurations determines.

    Args:
        name: its key in `summary.json` and `observables.json`.
        symbol: its formula, for tables; `short` and `tex` are for narrow columns and for figures.
        power: between notations with phi = s phi' the observable is s^power times that of phi'.
        axes: the names of the axes of an array.
        zero_under: a symmetry of the action that makes it zero.
        exact: its value in every correct ensemble.
        headline: it is shown if there is room for few observables.
        hidden: other observables need it, but it gets no value of its own.
        of_decay: it measures the decay of the correlator, and is meaningless if no correlation is seen.
    """

    name: str
    symbol: str = ""
    short: str = ""
    tex: str = ""
    power: int = 0
    axes: tuple[str, ...] = ()
    zero_under: str | None = None
    exact: float | None = None
    headline: bool = False
    hidden: bool = False
    of_decay: bool = False


@dataclass(frozen=True, kw_only=True)
class Mean(Observable):
    """The mean over configurations of `each(measurement)`.

    Args:
        measurement: the name under which the configurations' values are stored (""; the observable's own).
        each: an elementwise NumPy function of those values.
        measure: `measure(field, action)`, a JAX function of ONE configuration and its action, which returns a number or
            an array of numbers (None: another observable, or the sampler, stores the values). It is batched by
            `jax.vmap`.
    """

    measurement: str = ""
    each: Callable[[np.ndarray], np.ndarray] = np.asarray
    measure: Callable[[Any, Any], Any] | None = field(default=None, repr=False)

    @property
    def stored(self) -> str:
        """The name under which the values of the configurations are stored."""
        return self.measurement or self.name


@dataclass(frozen=True, kw_only=True)
class FunctionOfMeans(Observable):
    """An observable that is a function of means.

    `function(means, lattice)` is analytic in the means, so that its derivatives, and with them its error, come from a
    complex step: f'(x) = Im f(x + ih) / h, exact to rounding. A real argument gives a real value; NaN means that the
    estimator fails.

    Args:
        needs: the names of the means.
        function: the function.
        failure: the reason why the function may return NaN.
        first: entries of an array before this one are undefined by their definition.
    """

    needs: tuple[str, ...]
    function: Callable[[Means, Lattice], Any] = field(repr=False)
    failure: str = NOT_A_NUMBER
    first: int = 0


@dataclass(frozen=True, kw_only=True)
class FitToCorrelator(Observable):
    """A fit to the zero-momentum correlator: `fit(correlator, covariance, lattice, start)`, see `correlator_fits`."""

    fit: Callable[[np.ndarray, np.ndarray, Lattice, int], Any] = field(repr=False)
