"""An ensemble by its name: an array in a file, or the chains of a run that has stored its fields."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from trivmap.errors import InputError, prefixed
from trivmap.runs.data import require_fields, warmup_of_fields
from trivmap.runs.plan import Plan
from trivmap.runs.verdicts import integration_reason, reasons_of_samples
from trivmap.store.directory import RunDirectory
from trivmap.store.given import Given, opened
from trivmap.store.plain import is_file
from trivmap.store.samples import SampleReader


@contextmanager
def ensemble(text: str, plan: Plan, judged: RunDirectory | None = None) -> Iterator[Given]:
    """The configurations of exp(-S)/Z that `FILE`, `FILE:/DATASET` or the directory of a run names.

    Of a run, the stored fields of its chains after their warm-up, shape (chains, n, ...).

    Args:
        text: how the user names them.
        plan: the plan of the run that they are compared with; another run must have its lattice and action.
        judged: the run that they judge.

    Raises:
        InputError: as `store.given.opened`, and for a run with another lattice or action, without stored fields, or
            whose chains are withheld; and for the run that they judge, whose chain is no independent evidence.
    """
    root = Path(text)
    if not is_file(RunDirectory(root).config_path):
        with opened(text) as given:
            yield given
        return
    run = RunDirectory.open(root)
    card = require_fields(run, plan.card, "configurations")
    if judged is not None and _is_same(run, judged):
        raise InputError(
            f"{root}: is the run itself, whose chain cannot judge it; name another run, or measure this one without "
            "--configurations"
        )
    if reason := _reason_against(run):
        raise InputError(f"{root}: its chains are withheld, and so are their configurations: {reason}")
    with SampleReader(root) as reader:
        yield Given(text, _Chains(reader, warmup_of_fields(reader, card), plan))


def shape_of(plan: Plan, fields: Any, name: str) -> tuple[int, int]:
    """(chains, configurations of each) of an array that can be an ensemble; raises `InputError` for another one."""
    one, shape, dtype = plan.action.space.shape(plan.lattice), tuple(fields.shape), np.dtype(fields.dtype)
    leading = shape[: len(shape) - len(one)]
    if shape[len(leading) :] != one or len(leading) not in (1, 2) or not math.prod(leading):
        wanted = ", ".join(map(str, one))
        raise InputError(
            f"{name}: has shape {list(shape)}; configurations of this run have shape [n, {wanted}], or [chains, n, "
            f"{wanted}] of several chains"
        )
    if dtype.kind != "f" or dtype.itemsize not in (4, 8):
        raise InputError(f"{name}: holds {dtype}; configurations are real numbers, float32 or float64")
    return (1, leading[0]) if len(leading) == 1 else (leading[0], leading[1])


def piece(plan: Plan, fields: Any, name: str, chain: int, start: int, stop: int) -> np.ndarray:
    """Configurations start ... stop - 1 of a chain, in the precision of the run; raises `InputError` for NaN."""
    where, single = slice(start, stop), len(fields.shape) == len(plan.action.space.shape(plan.lattice)) + 1
    found = np.asarray(fields[where] if single else fields[chain, where])
    with np.errstate(over="ignore"):
        found = found.astype(plan.card.dtype)
    finite = np.isfinite(found).reshape(len(found), -1).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{name}: configuration {start + int(np.argmin(finite))} of chain {chain} (both from 0) holds NaN or an "
            "infinity; give whole configurations of finite numbers"
        )
    return found


def starts(text: str, plan: Plan, chains: int) -> np.ndarray:
    """The configurations at which chains begin, spread evenly over an ensemble, shape (chains, ...).

    Args:
        text: the name of the ensemble.
        plan: the plan of the run whose chains begin.
        chains: their number.

    Raises:
        InputError: as `ensemble`, and for fewer configurations than chains.
    """
    with prefixed("sampling.start.configurations: "), ensemble(text, plan) as fields:
        number, each = shape_of(plan, fields, fields.name)
        if number * each < chains:
            raise InputError(
                f"{text}: has {number * each} configurations for {chains} chains; give at least one for each, so that "
                "the chains are independent, or lower sampling.chains"
            )
        places = [divmod(chain * number * each // chains, each) for chain in range(chains)]
        return np.concatenate([piece(plan, fields, fields.name, chain, k, k + 1) for chain, k in places])


class _Chains:
    """The stored fields of chains as one array, shape (chains, n, ...)."""

    def __init__(self, reader: SampleReader, skipped: int, plan: Plan):
        self._reader, self._skipped = reader, skipped
        kept = max(0, reader.length("fields") - skipped)
        self.shape = (reader.chains, kept, *plan.action.space.shape(plan.lattice))
        self.dtype = reader.parts[0].datasets["fields"][1]

    def __getitem__(self, where: tuple[int, slice]) -> np.ndarray:
        chain, piece = where
        start, stop, _ = piece.indices(self.shape[1])
        return self._reader.read("fields", chain, self._skipped + start, self._skipped + stop)


def _is_same(run: RunDirectory, other: RunDirectory) -> bool:
    """True for one directory, and for copies of one run."""
    identity, others = (each.environment().get("run") for each in (run, other))
    return os.path.samefile(run.root, other.root) or (identity is not None and identity == others)


def _reason_against(run: RunDirectory) -> str | None:
    """The reason for which a run withholds everything that its chains say, if there is one."""
    summary = run.summary()
    reasons: dict[str, Any] = reasons_of_samples(summary)
    certificate = (summary.get("sampling") or {}).get("certificate")
    if certificate and not certificate["passed"]:
        return integration_reason(certificate)
    return reasons.get("chains") or reasons.get("probe")
