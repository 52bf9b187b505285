"""The requirements on the user's own observables, checked before hours of sampling depend on them."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from trivmap.actions import AbstractAction
from trivmap.actions.symmetry import EVERY
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.observables.catalog import CATALOG, RESERVED
from trivmap.observables.measure import measure, measuring
from trivmap.observables.observable import FunctionOfMeans, Mean, Observable
from trivmap.observables.spin_field import of_space

_DUMMIES = 3
"""Number of artificial configurations on which functions are tested."""


def require_measurable(own: Sequence[Observable], action: AbstractAction, lattice: Lattice, dtype: Any) -> None:
    """Refuse an observable of the user's own that cannot be measured on fields of a lattice, or analyzed.

    Measurements are traced, and the functions of their values are called with artificial numbers.

    Raises:
        InputError: for a name that is taken or is not an identifier, impossible facts, quantities that nothing
            measures, and functions that fail or return anything but real numbers of the right shape.
    """
    catalog = CATALOG.with_own(own)
    for each in own:
        _require_facts(each)
    known, taken = {each.stored for each, _ in measuring(of_space(action.space))}, RESERVED
    for each, _ in measuring(own):
        if each.stored in known | taken:
            raise InputError(f"observables: {each.stored} is the name of two measurements; rename one of them")
        known.add(each.stored)
    for each in own:
        if isinstance(each, Mean) and each.stored not in known:
            raise InputError(f"observables: nothing measures {each.stored}; give {each.name} a measure(field, action)")
    shapes = measured_shapes(own, action, lattice, dtype)
    rng = np.random.default_rng(0)
    made_up = {name: rng.uniform(0.5, 1.5, (_DUMMIES, *shape.shape)) for name, shape in shapes.items()}
    for each in own:
        if isinstance(each, Mean):
            values = _called(each, each.each, made_up[each.stored])
            _require_array(each, values, made_up[each.stored].shape, "each", made_up[each.stored].ndim - 1)
    for each, function in measuring(own):
        if each.zero_under == "z2":
            _require_odd(each, function, action, lattice)
    means = {name: values.mean(axis=0) for name, values in catalog.primaries(made_up).items()}
    for each in own:
        if isinstance(each, FunctionOfMeans):
            if missing := [name for name in each.needs if name not in means]:
                raise InputError(
                    f"observables: {each.name} needs {missing[0]}, which this sampler does not measure on these fields"
                )
            point = {name: means[name] for name in each.needs}
            value = _called(each, each.function, point, lattice)
            _require_array(each, value, np.shape(value), "function", np.ndim(value))
            shifted = _called(each, each.function, {name: x + 1e-20j for name, x in point.items()}, lattice)
            if np.shape(shifted) != np.shape(value):
                raise InputError(f"observables: the function of {each.name} returns another shape for complex means")


def measured_shapes(
    own: Sequence[Observable], action: AbstractAction, lattice: Lattice, dtype: Any
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of all measurements of one configuration, including the user's own.

    Raises `InputError` if one of the user's own fails, or returns neither a real number nor an array of them.
    """
    field = action.space.form(lattice, dtype)
    for each, function in measuring(own):
        values = _called(each, functools.partial(_traced, function, action.full), field)
        if not isinstance(values, jax.ShapeDtypeStruct) or values.dtype.kind not in "fiub":
            raise InputError(f"observables: the measure of {each.name} must give a real number or an array of them")
    return dict(jax.eval_shape(functools.partial(measure, action, own=tuple(own)), field))


def _require_odd(each: Mean, measure: Callable[..., Any], action: AbstractAction, lattice: Lattice) -> None:
    """Refuse an observable that declares `zero_under` z2 although z2 does not make it zero."""
    field = action.space.disordered(jax.random.key(1), lattice, float)
    here, there = (
        each.each(np.asarray(_called(each, measure, phi, action.full), np.float64)) for phi in (field, -field)
    )
    if not np.allclose(here, -there, rtol=1e-3, atol=1e-6):
        raise InputError(
            f"observables: {each.name} says zero_under z2, but it does not change its sign with the field: "
            f"{np.ravel(here)[0]:.3g} becomes {np.ravel(there)[0]:.3g}"
        )


def _traced(measure: Callable[[Any, Any], Any], action: AbstractAction, field: Any) -> Any:
    return jax.eval_shape(lambda field: measure(field, action), field)


def _require_facts(each: Observable) -> None:
    if not isinstance(each, (Mean, FunctionOfMeans)):
        raise InputError(f"observables: {each.name} has no value; make it a Mean or a FunctionOfMeans")
    if each.zero_under is not None and each.zero_under not in EVERY:
        raise InputError(
            f"observables: zero_under of {each.name} is {each.zero_under!r}, not a symmetry; choose one of "
            f"{', '.join(sorted(EVERY))}"
        )
    if each.exact is not None and not (isinstance(each.exact, (int, float)) and math.isfinite(each.exact)):
        raise InputError(f"observables: exact of {each.name} must be a finite number, got {each.exact!r}")
    if each.exact is not None and each.hidden:
        raise InputError(f"observables: {each.name} is hidden, so its exact value would not be checked")


def _called(each: Observable, function: Callable[..., Any], *arguments: Any) -> Any:
    """The user's function on given arguments; any failure becomes one sentence."""
    try:
        with np.errstate(all="ignore"):
            return function(*arguments)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"observables: {each.name} cannot be measured on one configuration ({reason})") from error


def _require_array(each: Observable, values: Any, shape: tuple[int, ...], what: str, dimensions: int) -> None:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub" or array.shape != shape:
        raise InputError(
            f"observables: {what} of {each.name} must give real numbers of shape {list(shape)}, got {array.dtype} of "
            f"shape {list(array.shape)}"
        )
    if len(each.axes) != dimensions:
        raise InputError(
            f"observables: {each.name} has {dimensions} axes and names {len(each.axes)} of them; give axes=(...) "
            "with a name for each"
        )
