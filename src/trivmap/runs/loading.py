"""A run's content as objects, for notebooks and scripts."""

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from trivmap.actions import AbstractAction
from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.flows import Flow
from trivmap.runs.pipeline import load_flow
from trivmap.store.directory import RunDirectory
from trivmap.store.plain import is_file
from trivmap.store.samples import SampleReader
from trivmap.store.sealed import read_json, read_sealed_text, trusting

if TYPE_CHECKING:
    from trivmap.observables import AlongTheMap, Results


class Run:
    """What a run directory holds, read when it is asked for; each raises `InputError` where the run has not got it.

    `flow` and `action` act on one configuration each. `results["susceptibility"]` is a pyerrors object,
    `results.to_xarray()` a dataset of everything with errors; `samples` reads samples.h5 piece by piece.
    `trust`: use files that were altered after they were written, which are refused otherwise.
    """

    def __init__(self, directory: RunDirectory, *, trust: bool = False):
        self.directory, self._trust = directory, trust

    @property
    def card(self) -> RunCard:
        return self.directory.card()

    @property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json."""
        with trusting(self._trust):
            return self.directory.summary()

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl."""
        with trusting(self._trust):
            return self.directory.metrics()

    @cached_property
    def _model(self) -> tuple[Flow, AbstractAction, RunCard]:
        with trusting(self._trust):
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
        with trusting(self._trust):
            return SampleReader(self.directory.root)

    @cached_property
    def results(self) -> "Results":
        """Observables with errors, from observables.json."""
        from trivmap.observables import Results

        path, remedy = self.directory.observables_path, f"run trivmap measure {self.directory.root}"
        if not is_file(path):
            raise InputError(f"{path}: nothing has been measured yet; {remedy}")
        with trusting(self._trust):
            return Results.from_text(read_sealed_text(path, remedy), str(path))

    @cached_property
    def stages(self) -> "AlongTheMap":
        """What the field looks like after each stage of the flow, from stages.json."""
        from trivmap.observables import AlongTheMap

        path, remedy = self.directory.stages_path, f"run trivmap measure {self.directory.root}"
        with trusting(self._trust):
            content = read_json(path, remedy)
        try:
            return AlongTheMap.from_dict(content)
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: is damaged; {remedy}") from error

    def __repr__(self) -> str:
        return f"Run({str(self.directory.root)!r})"


def load(path: str | os.PathLike[str], *, trust: bool = False) -> Run:
    """The run in a directory; raises `InputError` where there is none. `trust` as in `Run`."""
    return Run(RunDirectory.open(path), trust=trust)
