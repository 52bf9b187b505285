"""Observables with errors, by name, and why some have no value."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trivmap.extras import has_pyerrors
from trivmap.observables.catalog import CATALOG
from trivmap.observables.gamma import Series


def gamma_method(samples: np.ndarray, replicas: Sequence[str], bin_length: int = 1) -> Any:
    """The mean of one series per replica with its error: a pyerrors `Obs`, or a `Series` where there is no pyerrors.

    Deviations are those from the mean of all replicas, as in hep-lat/0306017, eq. (31), so that the scatter between
    replicas is part of the error; pyerrors by itself takes each replica's own mean. S = 2 in the automatic windowing.

    Args:
        samples: shape (replicas, bins).
        replicas: their names, `ensemble|replica`.
        bin_length: configurations from one bin to the next.
    """
    if not has_pyerrors():
        mean = float(samples.mean())
        return Series(mean, {replicas[0].split("|")[0]: np.asarray(samples, np.float64) - mean})
    import pyerrors

    places = [range(bin_length, bin_length * samples.shape[1] + 1, bin_length)] * len(samples)
    return with_common_mean(pyerrors.Obs(list(samples), list(replicas), idl=places))


def with_common_mean(observable: Any) -> Any:
    """The observable with deviations from the mean of all replicas instead of each replica's own, and its error."""
    for replica, mean in observable.r_values.items():
        observable.deltas[replica] = observable.deltas[replica] + (mean - observable.value)
        observable.r_values[replica] = observable.value
    observable.gamma_method()
    return observable


@dataclass(frozen=True)
class Estimates(Mapping[str, Any]):
    """Observables by name: a pyerrors `Obs` each, or an array of them (`correlator` by t, `two_point` by orbit).

    Where pyerrors is not installed, they are `Series` in place of `Obs`.

    `tau_int`: in configurations, of the same shape; empty for reweighted values. `untrusted`: the names that have no
    trustworthy value, with the reason; "name[3]" is one entry of an array, which holds None there. Asking for an
    untrusted name raises `KeyError` with its reason.
    """

    observables: dict[str, Any]
    tau_int: dict[str, Any]
    untrusted: dict[str, str]

    def __getitem__(self, name: str) -> Any:
        if name not in self.observables and name in self.untrusted:
            raise KeyError(f"{name} cannot be trusted: {self.untrusted[name]}")
        return self.observables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(CATALOG.ordered(self.observables))

    def __len__(self) -> int:
        return len(self.observables)

    def withhold(self, name: str, reason: str) -> None:
        """Take one observable out, for a reason."""
        self.observables.pop(name, None)
        self.tau_int.pop(name, None)
        self.untrusted[name] = reason

    def without(self, names: Collection[str], reason: str) -> "Estimates":
        """These estimates with some observables taken out, for a reason."""
        copy = Estimates(dict(self.observables), dict(self.tau_int), dict(self.untrusted))
        for name in names:
            copy.withhold(name, reason)
        return copy

    def withheld(self, reason: str) -> "Estimates":
        """These estimates with every observable taken out for one reason."""
        return Estimates({}, {}, dict.fromkeys((*self.observables, *self.untrusted), reason))

    def value(self, name: str) -> np.ndarray:
        """Value (0-dimensional for a scalar), NaN where it is not trusted."""
        return self._numbers(name, "value")

    def error(self, name: str) -> np.ndarray:
        """Standard error (0-dimensional for a scalar), NaN where it is not trusted."""
        return self._numbers(name, "dvalue")

    def tau_int_error(self, name: str) -> np.ndarray:
        """The error of tau_int, which is proportional to the squared error: 2 tau_int times the relative error of that.

        The shape is that of `value`; NaN stands where there is no tau_int.
        """
        error = self.error(name)
        relative = np.divide(self._numbers(name, "ddvalue"), error, out=np.full(error.shape, np.nan), where=error > 0)
        return np.asarray(2 * np.asarray(self.tau_int.get(name, np.nan)) * relative)

    def _numbers(self, name: str, attribute: str) -> np.ndarray:
        entries = np.asarray(self.observables.get(name), dtype=object)
        numbers = [np.nan if entry is None else getattr(entry, attribute) for entry in entries.ravel()]
        return np.array(numbers, dtype=np.float64).reshape(entries.shape)
