"""All observables by name: those of the theories and of the samplers."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from trivmap.errors import InputError
from trivmap.observables.estimators import delta_h_symmetry
from trivmap.observables.observable import FunctionOfMeans, Mean, Observable
from trivmap.observables.scalar_field import SCALAR_FIELD

OF_SAMPLERS: tuple[Observable, ...] = (
    Mean(
        name="delta_h_symmetry", symbol="⟨1 − 4 tanh(ΔH/2)/(1 + exp ΔH)⟩ = 1", exact=1.0,
        measurement="exp_minus_delta_h", each=delta_h_symmetry,
    ),
    Mean(name="cluster_size", symbol="cluster size / V"),
    Mean(name="metropolis_acceptance", symbol="accepted local updates"),
    Observable(name="log_z", symbol="log Z"),
)  # fmt: skip
"""Measurements of a sampler's steps, and log Z."""
CATALOG: Mapping[str, Observable] = {each.name: each for each in (*SCALAR_FIELD, *OF_SAMPLERS)}
IDENTITIES: Mapping[str, float] = {name: each.exact for name, each in CATALOG.items() if each.exact is not None}
"""Observables whose value is known in every correct ensemble."""
HEADLINES = tuple(name for name, each in CATALOG.items() if each.headline)
"""The observables shown where there is room for few, in the order of tables."""


def primaries(measurements: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The quantities whose means are taken, in float64: each measurement, and what `Mean` observables make of it.

    A measurement of which the catalog knows only functions gets no mean of its own: exp(-dH) has mean 1 in
    equilibrium, as its `delta_h_symmetry` has, but a chain meets its tails too rarely to give that mean an error.
    """
    wide = {name: np.asarray(values, np.float64) for name, values in measurements.items()}
    functions = {each.name: each.each(wide[each.stored]) for each in _FUNCTIONS if each.stored in wide}
    return {name: values for name, values in wide.items() if name not in _GIVE_WAY} | functions


def ordered(names: Iterable[str]) -> list[str]:
    """The names in the order of tables; those that the catalog does not know come last."""
    names = list(names)
    return [name for name in CATALOG if name in names] + [name for name in names if name not in CATALOG]


def odd_under(symmetry: str) -> tuple[str, ...]:
    """The observables that a symmetry of the action makes zero."""
    return tuple(name for name, each in CATALOG.items() if each.zero_under == symmetry)


def series_of(name: str) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    """The measurement, and the function of it, whose mean the observable is up to a factor.

    Raises `InputError` for observables that are functions of several means.
    """
    each = CATALOG.get(name, Mean(name=name))
    if isinstance(each, FunctionOfMeans) and len(each.needs) == 1:
        each = CATALOG[each.needs[0]]
    if not isinstance(each, Mean) or each.axes:
        raise InputError(f"{name}: is no mean over configurations, so that it has no series")
    return each.stored, each.each


def has_series(name: str) -> bool:
    """True if `series_of` knows the observable."""
    try:
        series_of(name)
    except InputError:
        return False
    return True


_FUNCTIONS = [each for each in CATALOG.values() if isinstance(each, Mean) and each.stored != each.name]
_GIVE_WAY = {each.stored for each in _FUNCTIONS} - CATALOG.keys()
