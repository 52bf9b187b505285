"""The input of the error analysis: the history of one or more Markov chains, from a file or from arrays in memory."""

from collections.abc import Collection, Mapping, Sequence
from numbers import Integral
from typing import Any, Protocol, runtime_checkable

import numpy as np

from trivmap.errors import InputError
from trivmap.observables.observable import Observable


@runtime_checkable
class History(Protocol):
    """Chains of equal length n, read piece by piece so that they need not fit into memory.

    `attrs["history"]` defines entry i of a measurement. For "proposals" it is the measurement of proposal i, and the
    chain's configuration at step i is the last accepted proposal up to and including i. For "chain" it is the
    measurement of the chain's configuration i.
    `attrs["lattice"]` holds the extents.
    """

    @property
    def chains(self) -> int: ...

    @property
    def n(self) -> int:
        """Steps per chain, warm-up included."""
        ...

    @property
    def warmup(self) -> int:
        """Steps at the start of each chain that are stored but not measured."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """The measurements that `read` can return."""
        ...

    @property
    def attrs(self) -> Mapping[str, Any]: ...

    def read(self, name: str, chain: int, start: int, stop: int) -> np.ndarray:
        """Steps start ... stop - 1 of one chain, shape (stop - start, ...).

        `name` is a measurement or, for proposals, "accepted" (bool) or "log_weight" (float64, log of exp(-S)/q).
        """
        ...


def last_accepted(accepted: np.ndarray) -> np.ndarray:
    """Index of the last accepted proposal up to each step, -1 before the first."""
    return np.maximum.accumulate(np.where(accepted, np.arange(len(accepted)), -1))


def chain_series(history: History, name: str) -> np.ndarray:
    """A measurement along the chains after their warm-up, shape (chains, n, ...).

    In a history of proposals it is the value of the last accepted one; NaN before a chain has accepted any.
    """
    series = []
    for chain in range(history.chains):
        values = history.read(name, chain, 0, history.n).astype(np.float64)
        if history.attrs["history"] == "proposals":
            last = last_accepted(history.read("accepted", chain, 0, history.n))
            values = values[np.maximum(last, 0)]
            values[last < 0] = np.nan
        series.append(values[history.warmup :])
    return np.stack(series)


class ArrayHistory:
    """A `History` held in memory: arrays with leading axes (chains, n), or (n,) for a single chain.

    Give `accepted` and `log_weight` for independence Metropolis over proposals; leave both out if `observables`
    already is the chain. Without a `lattice` only the means themselves are analyzed, without derived observables.
    `symmetries` are those of the action: observables that they make zero are checked. `own` are your own observables,
    whose measurements are among the arrays.

    Raises `InputError` if the arrays do not share their leading axes, only one of the two is given, or `warmup` is not
    a number of steps.
    """

    def __init__(
        self,
        observables: Mapping[str, Any],
        *,
        lattice: Sequence[int] | None = None,
        accepted: Any = None,
        log_weight: Any = None,
        warmup: int = 0,
        symmetries: Collection[str] = (),
        own: Sequence[Observable] = (),
    ):
        if isinstance(warmup, bool) or not isinstance(warmup, Integral) or warmup < 0:
            raise InputError(f"warmup: must be a number of steps, 0 or more, got {warmup!r}")
        if (accepted is None) != (log_weight is None):
            raise InputError("history: give both accepted and log_weight for proposals, or neither for a chain")
        arrays = {name: np.asarray(values) for name, values in observables.items()}
        self.names = tuple(arrays)
        if accepted is not None:
            arrays |= {"accepted": np.asarray(accepted, bool), "log_weight": np.asarray(log_weight, np.float64)}
        single = min((array.ndim for array in arrays.values()), default=0) == 1
        self._arrays = {name: array[None] if single else array for name, array in arrays.items()}
        leading = {array.shape[:2] for array in self._arrays.values()}
        if len(leading) != 1:
            raise InputError(f"history: every array needs the same leading axes (chains, n), got {sorted(leading)}")
        self.chains, self.n = leading.pop()
        self.warmup = int(warmup)
        self.attrs: dict[str, Any] = {"history": "chain" if accepted is None else "proposals"}
        if symmetries:
            self.attrs["symmetries"] = sorted(symmetries)
        if own:
            self.attrs["observables"] = tuple(own)
        if lattice is not None:
            self.attrs["lattice"] = list(lattice)

    def read(self, name: str, chain: int, start: int, stop: int) -> np.ndarray:
        return self._arrays[name][chain, start:stop]

    def __getitem__(self, name: str) -> np.ndarray:
        """Everything stored under a name, shape (chains, n, ...), warm-up included."""
        return self._arrays[name]
