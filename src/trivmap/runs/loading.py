"""A run's content as objects, for notebooks and scripts."""

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from trivmap.actions import AbstractAction
from trivmap.cards.card import RunCard
from trivmap.flows import Flow
from trivmap.runs.pipeline import load_flow
from trivmap.store.directory import RunDirectory
from trivmap.store.samples import SampleReader

if TYPE_CHECKING:
    from trivmap.observables import AlongTheMap, Results


class Run:
    """What a run directory holds, read when it is asked for; each raises `InputError` where the run has not got it.

    `flow` and `action` act on one configuration each. `results["susceptibility"]` is a pyerrors object,
    `results.to_xarray()` a dataset of everything with errors; `samples` reads samples.h5 piece by piece.
    """

    def __init__(self, directory: RunDirectory):
        self.directory = directory

    @property
    def card(self) -> RunCard:
        return self.directory.card()

    @property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json."""
        return self.directory.summary()

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl."""
        return self.directory.metrics()

    @cached_property
    def _model(self) -> tuple[Flow, AbstractAction, RunCard]:
        return load_flow(self.directory)

    @property
    def flow(self) -> Flow:
        """The trained flow."""
        return self._model[0]

    @property
    def action(self) -> AbstractAction:
        """What the flow is held against; its `complete` draws the odd sites of a flow of the even ones."""
        return self._model[1]

    @property
    def samples(self) -> SampleReader:
        """Log-weights, accept decisions and measurements of every proposal."""
        return SampleReader(self.directory.root)

    @cached_property
    def results(self) -> "Results":
        """Observables with errors, from observables.json."""
        from trivmap.errors import InputError
        from trivmap.observables import Results

        path = self.directory.observables_path
        if not path.exists():
            raise InputError(f"{path}: nothing has been measured yet; run trivmap measure {self.directory.root}")
        return Results.from_json(path)

    @cached_property
    def stages(self) -> "AlongTheMap":
        """What the field looks like after each stage of the flow, from stages.json."""
        from trivmap.observables import AlongTheMap
        from trivmap.store.files import read_json

        remedy = f"run trivmap measure {self.directory.root}"
        return AlongTheMap.from_dict(read_json(self.directory.stages_path, remedy))

    def __repr__(self) -> str:
        return f"Run({str(self.directory.root)!r})"


def load(path: str | os.PathLike[str]) -> Run:
    """The run in a directory; raises `InputError` where there is none."""
    return Run(RunDirectory.open(path))
