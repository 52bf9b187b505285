"""Observables by name: those of a theory, those of the samplers, and the user's own."""

import re
import reprlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from trivmap.errors import InputError
from trivmap.observables.estimators import delta_h_symmetry
from trivmap.observables.observable import FunctionOfMeans, Mean, Observable
from trivmap.observables.scalar_field import SCALAR_FIELD
from trivmap.observables.spin_field import OF_UNIT_VECTORS, OF_VECTORS

OF_SAMPLERS: tuple[Observable, ...] = (
    Mean(
        name="delta_h_symmetry", symbol="⟨1 − 4 tanh(ΔH/2)/(1 + exp ΔH)⟩ = 1", short="symmetry of ΔH (Crooks)",
        exact=1.0, measurement="exp_minus_delta_h", each=delta_h_symmetry,
    ),
    Mean(name="cluster_size", symbol="cluster size / V"),
    Mean(name="metropolis_acceptance", symbol="accepted local updates"),
    Observable(name="log_z", symbol="log Z"),
)  # fmt: skip
"""Measurements of a sampler's steps, and log Z."""


_LONGEST_NAME = 60
_NAME = re.compile(rf"[A-Za-z]\w{{0,{_LONGEST_NAME - 1}}}", re.ASCII)
_RESERVED = {"accepted", "acceptance", "chains", "displacement", "distance", "ess", "fields", "log_weight", "orbit"}
_RESERVED |= {"momentum", "probe", "quantity", "sector", "source", "t", "tau_int", "error", "value"}
"""Keys of other data stored with the measurements, of reasons in `untrusted`, and of the arrays of `to_xarray`."""


class Catalog(Mapping[str, Observable]):
    """Observables by name, in the order of tables.

    Raises `InputError` if two have the same name.
    """

    def __init__(self, observables: Iterable[Observable]):
        self._known: dict[str, Observable] = {}
        for each in observables:
            if each.name in self._known:
                raise InputError(f"observables: two have the name {each.name}; give one of them another name")
            self._known[each.name] = each

    def __getitem__(self, name: str) -> Observable:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def with_own(self, own: Iterable[Observable]) -> "Catalog":
        """This catalog with the user's own observables, which come last.

        Raises `InputError` for a name that is taken or is not an identifier, and if one needs a quantity that is not a
        mean.
        """
        own = tuple(own)
        for each in own:
            for name in (each.name, each.stored if isinstance(each, Mean) else each.name):
                _require_name(name)
        extended = Catalog((*self.values(), *own)) if own else self
        for each in own:
            missing = [name for name in extended.needs_of(each) if name not in extended.means]
            if missing:
                raise InputError(
                    f"observables: {each.name} needs {missing[0]}, which is not a mean over configurations; known are "
                    f"{', '.join(extended.means)}"
                )
        return extended

    def own(self) -> dict[str, Observable]:
        """The observables outside `CATALOG` that have a value."""
        return {name: each for name, each in self.items() if name not in CATALOG and not each.hidden}

    @staticmethod
    def needs_of(each: Observable) -> tuple[str, ...]:
        """The means that an observable is a function of."""
        return each.needs if isinstance(each, FunctionOfMeans) else ()

    def short(self, name: str) -> str:
        """The label of an observable in a narrow column: its name if the catalog does not have it."""
        return self[name].short if name in self else name

    @cached_property
    def means(self) -> tuple[str, ...]:
        """The observables that are means over configurations."""
        return tuple(name for name, each in self.items() if isinstance(each, Mean))

    @cached_property
    def identities(self) -> dict[str, float]:
        """Observables with a known value in every correct ensemble."""
        return {name: each.exact for name, each in self.items() if each.exact is not None}

    @cached_property
    def headlines(self) -> tuple[str, ...]:
        """The observables that are shown if there is room for few."""
        return tuple(name for name, each in self.items() if each.headline)

    @cached_property
    def differentiated(self) -> tuple[str, ...]:
        """The means of which others are functions."""
        return ("correlator", *{name for each in self.values() for name in self.needs_of(each)})

    def primaries(self, measurements: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The quantities whose means are taken, in float64: measurements, and functions of them in `Mean` observables.

        A measurement gets no mean of its own if the catalog has only functions of it: exp(-dH) has mean 1 in
        equilibrium, as does its `delta_h_symmetry`, but a chain meets its tails too rarely to give that mean an error.
        """
        functions, give_way = self._of_other_measurements
        wide = {name: np.asarray(values, np.float64) for name, values in measurements.items()}
        # A mean that is measured directly, such as |m| of vectors, is not a function of another measurement.
        functions = [each for each in functions if each.name not in wide]
        made = {each.name: each.each(wide[each.stored]) for each in functions if each.stored in wide}
        return {name: values for name, values in wide.items() if name not in give_way} | made

    def ordered(self, names: Iterable[str]) -> list[str]:
        """The names in the order of tables; names that are not in the catalog come last."""
        names = list(names)
        return [name for name in self if name in names] + [name for name in names if name not in self]

    def odd_under(self, symmetry: str) -> tuple[str, ...]:
        """The observables that a symmetry of the action makes zero."""
        return tuple(name for name, each in self.items() if each.zero_under == symmetry)

    def series_of(self, name: str, stored: Collection[str] = ()) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
        """The measurement, and the function of it, whose mean the observable is up to a factor.

        Args:
            name: the name of the observable.
            stored: the available measurements; a mean that is itself among them needs no other one.

        Raises:
            InputError: for observables that are functions of several means.
        """
        each: Any = self.get(name, Mean(name=name))
        if isinstance(each, FunctionOfMeans) and len(each.needs) == 1:
            each = self[each.needs[0]]
        if not isinstance(each, Mean) or each.axes:
            raise InputError(f"{name}: is not a mean over configurations, so it has no series")
        return (each.name, np.asarray) if each.name in stored else (each.stored, each.each)

    def has_series(self, name: str) -> bool:
        """True if the observable has a `series_of`."""
        try:
            self.series_of(name)
        except InputError:
            return False
        return True

    @cached_property
    def _of_other_measurements(self) -> tuple[list[Mean], set[str]]:
        """The means of functions of measurements, and the measurements that have no mean of their own."""
        functions = [each for each in self.values() if isinstance(each, Mean) and each.stored != each.name]
        return functions, {each.stored for each in functions} - self.keys()


def _require_name(name: object) -> None:
    """Names are keys of files and of the summary, and columns of tables."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(
            f"observables: {reprlib.repr(name)} is not a name; write up to {_LONGEST_NAME} letters, digits and _, "
            "beginning with a letter"
        )
    if name in _RESERVED:
        raise InputError(f"observables: {name} stands for something else in the files of a run; choose another name")


def own_names(entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The user's own observables among those of `summary.json`, where they have their symbols."""
    return [name for name, entry in entries.items() if "symbol" in entry]


_OF_THEORIES = (*SCALAR_FIELD, *OF_VECTORS, *OF_UNIT_VECTORS)
RESERVED = frozenset(name for each in _OF_THEORIES if isinstance(each, Mean) for name in (each.name, each.stored))
"""The names of the means and measurements of all theories; own measurements and records of samplers must differ."""
CATALOG = Catalog((*_OF_THEORIES, *OF_SAMPLERS))
"""The observables of the theories and of the samplers."""
