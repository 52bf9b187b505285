"""The results of an analysis: objects with errors by name, their tables, and their file formats."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from types import SimpleNamespace
from typing import Any

import numpy as np

from trivmap.errors import InputError
from trivmap.estimate import parenthesis
from trivmap.extras import require
from trivmap.notebook import table
from trivmap.observables.estimates import Estimates, with_common_mean
from trivmap.observables.gamma import Series

_FEWEST_REJECTIONS = 50
"""Fewest rejections whose fluctuation the bins of a chain show."""


@dataclass(frozen=True, repr=False)
class Results(Mapping[str, Any]):
    """The observables of the chains; the same reweighted, where there are weights; and facts about the analysis.

    `results["susceptibility"]` is the pyerrors `Obs` of the chain, or a `Series` where pyerrors is not installed.
    `info` holds the ensemble's name, lattice, chains, configurations, bins, bin_length, moves, longest_stand, r_hat,
    missing_sector, integration_shift, the `fits`, symbol and axes of observables of one's `own` and, with weights,
    effective_samples, pareto_shape and skewness.
    """

    chain: Estimates
    reweighted: Estimates | None
    info: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.chain[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.chain)

    def __len__(self) -> int:
        return len(self.chain)

    def __repr__(self) -> str:
        """A line for each scalar: its value with the error and tau_int, or the reason why it has none."""
        rows = self._rows()
        widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
        lines = [f"{name:{widths[0]}}  {value:>{widths[1]}}  {tau_int}".rstrip() for name, value, tau_int in rows]
        return "\n".join([*lines, *(f"{name}: {reason}" for name, reason in self.reasons())]) or "no observables"

    def _repr_html_(self) -> str:
        """The same as a table, for notebooks."""
        withheld = "".join(f"<li>{escape(name)}: {escape(reason)}</li>" for name, reason in self.reasons())
        below = f"<p>withheld</p><ul>{withheld}</ul>" if withheld else ""
        return table("", ("observable", "value", "tau_int"), self._rows()) + below

    def _rows(self) -> list[tuple[str, str, str]]:
        rows = []
        for name, found in self.summary().items():
            tau_int = (
                "reweighted" if found["tau_int"] is None else parenthesis(found["tau_int"], found["tau_int_error"])
            )
            rows.append((name, parenthesis(found["value"], found["error"]), tau_int))
        return rows

    def reasons(self) -> list[tuple[str, str]]:
        """The observables that are withheld, those with one reason together."""
        printed, found = self.summary(), dict[str, list[str]]()
        for name, reason in self.untrusted.items():
            if "[" not in name and name not in printed:
                found.setdefault(reason, []).append(name)
        return [(", ".join(names), reason) for reason, names in found.items()]

    @property
    def tau_int(self) -> dict[str, Any]:
        return self.chain.tau_int

    @property
    def untrusted(self) -> dict[str, str]:
        return self.chain.untrusted

    def without(self, names: Collection[str], reason: str) -> "Results":
        """These results with some observables taken out for one reason, wherever they are."""
        reweighted = None if self.reweighted is None else self.reweighted.without(names, reason)
        return Results(self.chain.without(names, reason), reweighted, self.info)

    def withheld(self, reason: str) -> "Results":
        """These results with every observable taken out for one reason."""
        reweighted = None if self.reweighted is None else self.reweighted.withheld(reason)
        return Results(self.chain.withheld(reason), reweighted, self.info)

    @cached_property
    def difference(self) -> Estimates:
        """Chain minus reweighted, with the error of the difference: they share their proposals.

        Rejections alone keep the chain from being the plain average over the proposals. Where there are fewer than 50,
        their number fluctuates by more than the bins can tell, and 2 p times the squared error of the chain is added, p
        the probability of a rejection that two standard deviations allow.
        """
        if self.reweighted is None:
            return Estimates({}, {}, {})
        differences, untrusted = {}, self.reweighted.untrusted | self.chain.untrusted
        for name in self.chain.keys() & self.reweighted.keys():
            pairs = np.broadcast(np.asarray(self.chain[name]), np.asarray(self.reweighted[name]))
            entries = np.full(pairs.size, None)
            for k, (first, second) in enumerate(pairs):
                if first is not None and second is not None:
                    entries[k] = first - second + self._unseen(first, f"{name}-{k}" if pairs.ndim else name)
                    entries[k].gamma_method()
            differences[name] = entries.reshape(pairs.shape) if pairs.ndim else entries[0]
        return Estimates(differences, {}, untrusted)

    def _unseen(self, chain: Any, name: str) -> Any:
        """Zero, with the error of a difference by rejections that are too few to show it.

        Each observable has its own name for it: objects of one name must have one error.
        """
        total = self.info.get("configurations", 0)
        rejections = total - self.info.get("moves", 0)
        if not (total and 0 <= rejections < _FEWEST_REJECTIONS):
            return 0.0
        share = (rejections + 2 * math.sqrt(rejections) + 3) / total
        square, name = 2 * share * chain.dvalue**2, f"{self.info['ensemble']}-rejections-{name}"
        if isinstance(chain, Series):
            return Series(0.0, {}, {name: square})
        from pyerrors import cov_Obs

        return cov_Obs(0.0, square, name)

    def summary(self) -> dict[str, dict[str, Any]]:
        """{name: {value, error, tau_int, tau_int_error, source}} of every trusted scalar.

        `source` is "chain" or "reweighted": the reweighted average, which has no tau_int, stands in where only that of
        the chain is not trusted. An observable of one's own has its `symbol` besides.
        """
        found: dict[str, dict[str, Any]] = {}
        for source, estimates in (("chain", self.chain), ("reweighted", self.reweighted or {})):
            for name in estimates:
                if name not in found and not isinstance(estimates[name], np.ndarray):
                    tau_int = float(self.tau_int[name]) if source == "chain" else None
                    spread = float(self.chain.tau_int_error(name)) if source == "chain" else None
                    numbers = {"value": float(estimates[name].value), "error": float(estimates[name].dvalue)}
                    own = self.info.get("own", {}).get(name)
                    symbol = {} if own is None else {"symbol": own["symbol"]}
                    times = {"tau_int": tau_int, "tau_int_error": spread}
                    found[name] = {**numbers, **times, "source": source} | symbol
        return found

    def to_text(self) -> str:
        """pyerrors' JSON (`pyerrors.input.json.load_json_dict` reads it too), without the names of user and host."""
        facts: dict[str, Any] = {"info": self.info}
        objects, placeholders = [], {}
        for label, estimates in (("chain", self.chain), ("reweighted", self.reweighted)):
            if estimates is not None:
                numbers = range(len(objects), len(objects) + len(estimates.observables))
                placeholders[label] = {
                    name: f"DICTOBS{k}" for name, k in zip(estimates.observables, numbers, strict=True)
                }
                objects += [_trusted(entries) for entries in estimates.observables.values()]
                facts[label] = {
                    "positions": {name: _positions(entries) for name, entries in estimates.observables.items()},
                    "tau_int": {name: _encode(tau) for name, tau in estimates.tau_int.items()},
                    "untrusted": estimates.untrusted,
                }
        return _anonymous_text(objects, {"INFO": _INFO, "OBSDICT": placeholders, "description": facts})

    @classmethod
    def from_text(cls, text: str, source: str) -> "Results":
        """Read what `to_text` gave; errors are computed again. Raises `InputError`, of `source`, for anything else."""
        require("runs", "stored results", "pyerrors")
        from pyerrors.input.json import import_json_string

        try:
            content = import_json_string(text, verbose=False, full_output=True)
            facts = content["description"]["description"]
            placeholders, objects = content["description"]["OBSDICT"], content["obsdata"]
            parts = {}
            for label in placeholders:
                observables = {
                    name: _restore(objects[int(key.removeprefix("DICTOBS"))], facts[label]["positions"][name])
                    for name, key in placeholders[label].items()
                }
                tau_int = {name: _decode(tau) for name, tau in facts[label]["tau_int"].items()}
                parts[label] = Estimates(observables, tau_int, facts[label]["untrusted"])
            return cls(parts["chain"], parts.get("reweighted"), facts["info"])
        except MemoryError:
            raise
        except Exception as error:
            # pyerrors raises that itself for what it does not know.
            said = f"{source}: not a complete observables file of trivmap; run `trivmap measure` again"
            raise InputError(said) from error

    def to_xarray(self, attributes: Mapping[str, Any] | None = None) -> Any:
        """An `xarray.Dataset` with one variable per observable, dimensions (source, quantity, ...).

        source: chain, reweighted, difference; quantity: value, error, tau_int, tau_int_error; NaN where there is none.
        `correlator` and `effective_mass` have the dimension t; `two_point` has orbit, with the coordinates
        `displacement` (orbit, axis) and `distance` (orbit). A variable's attribute `long_name` is its definition.

        Args:
            attributes: attributes of the dataset besides the facts of `info`; `Run.to_xarray` gives action and seed.
        """
        from trivmap.observables.datasets import results_dataset

        sources = {"chain": self.chain, "reweighted": self.reweighted, "difference": self.difference}
        return results_dataset(sources, self.info, attributes or {})


_INFO = (
    "A dictionary of observables, as pyerrors' load_json_dict reads it: OBSDICT has its keys, with a placeholder for "
    "each entry of the list obsdata; description holds facts about them."
)


def _anonymous_text(objects: list[Any], description: dict[str, Any]) -> str:
    """pyerrors' JSON of a list without the names of user and host, which it asks for and which not every user has."""
    require("runs", "stored results", "pyerrors")
    from pyerrors.input import json as writer

    names = {"getpass": SimpleNamespace(getuser=str), "socket": SimpleNamespace(gethostname=str)}
    before = {module: getattr(writer, module) for module in names}
    try:
        for module, nobody in names.items():
            setattr(writer, module, nobody)
        return writer.create_json_string(objects, description)
    finally:
        for module, own in before.items():
            setattr(writer, module, own)


def _trusted(entries: Any) -> Any:
    """The entries that pyerrors can store: a single `Obs`, or a flat array without None."""
    if not isinstance(entries, np.ndarray):
        return entries
    return np.array([entry for entry in entries.ravel() if entry is not None], dtype=object)


def _positions(entries: Any) -> dict[str, list[int]] | None:
    """Where the trusted entries belong; None for a single `Obs`."""
    if not isinstance(entries, np.ndarray):
        return None
    kept = [k for k, entry in enumerate(entries.ravel()) if entry is not None]
    return {"shape": list(entries.shape), "kept": kept}


def _restore(stored: Any, positions: dict[str, list[int]] | None) -> Any:
    for entry in np.ravel(stored):
        with_common_mean(entry)
    if positions is None:
        return stored
    entries = np.full(math.prod(positions["shape"]), None)
    entries[positions["kept"]] = stored
    return entries.reshape(positions["shape"])


def _encode(tau_int: Any) -> Any:
    if np.ndim(tau_int):
        return [_encode(entry) for entry in tau_int]
    return None if np.isnan(tau_int) else float(tau_int)


def _decode(tau_int: Any) -> Any:
    return tau_int if isinstance(tau_int, float) else np.array(tau_int, dtype=np.float64)
