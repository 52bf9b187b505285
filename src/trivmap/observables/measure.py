"""Everything the analysis needs of one configuration."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from trivmap._types import Field
from trivmap.actions import AbstractAction
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.observables.catalog import CATALOG
from trivmap.observables.observable import Mean, Observable
from trivmap.observables.scalar_field import SCALAR_FIELD


def measure(action: AbstractAction, field: Field, *, own: Iterable[Observable] = ()) -> dict[str, Float[Array, "..."]]:
    """The measurements of one configuration of a real scalar field, by name: numbers, and arrays of numbers.

    They are those of `SCALAR_FIELD`, which says how each is normalized, and those of observables of one's `own`.

    Args:
        action: the action whose ensemble the field belongs to.
        field: one configuration; `jax.vmap` makes batches of it.
        own: further observables, of which those that have a `measure` are measured.

    Raises:
        InputError: for what a flow of the even sites draws by itself, which is NaN at the odd ones; traced, every
            observable is then NaN.
    """
    _require_whole(field)
    return measure_own(action, (*SCALAR_FIELD, *own), field)


def measure_own(action: AbstractAction, own: Iterable[Observable], field: Field) -> dict[str, Float[Array, "..."]]:
    """The measurements of one configuration that some observables need, by name."""
    means = (each for each in own if isinstance(each, Mean))
    return {each.stored: each.measure(field, action.whole) for each in means if each.measure is not None}


def require_measurable(own: Sequence[Observable], action: AbstractAction, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise `InputError` where an observable of one's own cannot be measured on a field of this shape, seen by tracing.

    It has the name of another one, needs what is not measured, or its `measure` fails or gives no array of numbers.
    """
    CATALOG.with_own(own)
    known = {each.stored for each in CATALOG.values() if isinstance(each, Mean)}
    for each in own:
        if isinstance(each, Mean) and each.measure is not None:
            if each.stored in known:
                raise InputError(f"observables: {each.stored} is the name of two measurements; rename one of them")
            known.add(each.stored)
            _require_numbers(each, each.measure, action, jax.ShapeDtypeStruct(shape, dtype))
    for each in own:
        if isinstance(each, Mean) and each.stored not in known:
            raise InputError(f"observables: nothing measures {each.stored}; give {each.name} a measure(field, action)")


def _require_numbers(each: Mean, measure: Callable[[Any, Any], Any], action: AbstractAction, field: Any) -> None:
    try:
        values = jax.eval_shape(lambda field: measure(field, action.whole), field)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"observables: {each.name} cannot be measured on one configuration ({reason})") from error
    if not isinstance(values, jax.ShapeDtypeStruct) or values.dtype.kind not in "fiub":
        raise InputError(f"observables: the measure of {each.name} must give a real number or an array of them")


def _require_whole(field: Field) -> None:
    if isinstance(field, Tracer):
        return
    missing = np.isnan(field)
    if np.any(missing) and np.array_equal(missing, Lattice(field.shape).parity == 1):
        raise InputError(
            "measure: the field holds only its even sites; draw the odd ones by complete(key, field) of its action, or "
            "whole configurations by trivmap.load(...).sample(key, n)"
        )
