"""All measurements of one configuration that the analysis needs."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from trivmap._types import Field
from trivmap.actions import AbstractAction
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.observables.agreement import order_parameter
from trivmap.observables.observable import Mean, Observable
from trivmap.observables.spin_field import of_space


def measure(action: AbstractAction, field: Field, *, own: Iterable[Observable] = ()) -> dict[str, Float[Array, "..."]]:
    """The measurements of one configuration, by name: numbers, and arrays of numbers.

    They are those of the observables of the action's space, which define the normalization, and those of your `own`
    observables.

    Args:
        action: the action whose ensemble the field belongs to.
        field: one configuration; use `jax.vmap` for batches.
        own: further observables, of which those that have a `measure` are measured.

    Raises:
        InputError: for a field from a flow of the even sites, which is NaN at the odd sites; if the field is traced,
            every observable is NaN instead.
    """
    _require_whole(field)
    return measure_own(action, (*of_space(action.space), *own), field)


def measure_own(action: AbstractAction, own: Iterable[Observable], field: Field) -> dict[str, Float[Array, "..."]]:
    """The measurements of one configuration that some observables need, by name."""
    return {each.stored: measure(field, action.full) for each, measure in measuring(own)}


def measure_order(action: AbstractAction, field: Field) -> dict[str, Float[Array, "..."]]:
    """The measurement of the order parameter alone."""
    measured = {each.stored: each for each, _ in measuring(of_space(action.space))}
    return measure_own(action, [measured[order_parameter(measured)]], field)


def measuring(observables: Iterable[Observable]) -> list[tuple[Mean, Callable[[Any, Any], Any]]]:
    """The observables that are measured on configurations, each with its `measure`."""
    means = (each for each in observables if isinstance(each, Mean))
    return [(each, each.measure) for each in means if each.measure is not None]


def _require_whole(field: Field) -> None:
    if isinstance(field, Tracer):
        return
    missing = np.isnan(field)
    if np.any(missing) and np.array_equal(missing, Lattice(field.shape).parity == 1):
        raise InputError(
            "measure: the field has only its even sites; draw the odd ones by sample_conditional(key, field) of its "
            "action, or whole configurations by trivmap.load(...).sample(key, n)"
        )
