"""An ensemble by its name: an array in a file, or the chains of a run that has stored its fields."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from trivmap.errors import InputError
from trivmap.runs.data import require_fields, warmup_of_fields
from trivmap.runs.pipeline import integration_reason, reasons_of_samples
from trivmap.runs.plan import Plan
from trivmap.store.directory import RunDirectory
from trivmap.store.given import Given, opened
from trivmap.store.plain import is_file
from trivmap.store.samples import SampleReader


@contextmanager
def ensemble(text: str, plan: Plan) -> Iterator[Given]:
    """The configurations of exp(-S)/Z that `FILE`, `FILE:/DATASET` or the directory of a run names.

    Of a run, the stored fields of its chains after their warm-up, shape (chains, n, ...).

    Args:
        text: how the user names them.
        plan: the plan of the run that they are compared with; another run must have its lattice and action.

    Raises:
        InputError: as `store.given.opened`, and for a run with another lattice or action, without stored fields, or
            whose chains are withheld.
    """
    root = Path(text)
    if not is_file(RunDirectory(root).config_path):
        with opened(text) as given:
            yield given
        return
    run = RunDirectory.open(root)
    card = require_fields(run, plan.card, "configurations")
    if reason := _reason_against(run):
        raise InputError(f"{root}: its chains are withheld, and so are their configurations: {reason}")
    with SampleReader(root) as reader:
        yield Given(text, _Chains(reader, warmup_of_fields(reader, card), plan))


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


def _reason_against(run: RunDirectory) -> str | None:
    """The reason for which a run withholds everything that its chains say, if there is one."""
    summary = run.summary()
    reasons: dict[str, Any] = reasons_of_samples(summary)
    certificate = (summary.get("sampling") or {}).get("certificate")
    if certificate and not certificate["passed"]:
        return integration_reason(certificate)
    return reasons.get("chains") or reasons.get("probe")
