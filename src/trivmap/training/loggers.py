"""Loggers: where the scalars of a training are shown besides, for example in TensorBoard."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from trivmap.extras import require
from trivmap.training.observer import Forwarding, Observer

if TYPE_CHECKING:
    from trivmap.training.evaluation import Evaluation


@runtime_checkable
class Logger(Protocol):
    """Shows the scalars of a training elsewhere. Write a class with these two methods to make one.

    The scalars are those of the records in metrics.jsonl: configurations, loss, loss_error, ess, acceptance,
    learning_rate, temperature, gradient_norm, batch ..., as far as the optimizer has them, and after an evaluation
    `evaluation/acceptance`, `evaluation/acceptance_error`, `evaluation/ess` and so on.
    """

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """The scalars at a step."""

    def close(self) -> None:
        """Nothing more will be logged."""


class TensorBoard:
    """Writes event files for TensorBoard: `tensorboard --logdir FOLDER` shows them.

    >>> trivmap.run("quickstart", loggers=[TensorBoard("logs/quickstart")])

    Args:
        folder: the folder for the event files, which is made.

    Raises:
        MissingPackage: without tensorboardX: `pip install 'trivmap[tensorboard]'`.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        require("tensorboard", "TensorBoard")
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(os.fspath(folder))

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class Loggers:
    """Passes records on to loggers. One that fails gets no more of them, and the training continues.

    Args:
        loggers: the loggers.
        note: what prints a sentence about a logger that fails.
    """

    def __init__(self, loggers: Sequence[Logger], note: Callable[[str], object]):
        self._loggers, self._note = list(loggers), note

    def log(self, record: Mapping[str, Any]) -> None:
        """A record of training, as metrics.jsonl has it."""
        found = dict(scalars(record))
        step = int(found.pop("step"))
        for logger in list(self._loggers):
            self._call(logger, lambda logger=logger: logger.log(step, found))

    def close(self) -> None:
        for logger in list(self._loggers):
            self._call(logger, logger.close)

    def _call(self, logger: Logger, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:
            self._loggers.remove(logger)
            self._note(f"{type(logger).__name__} gets no more records, the training continues: {error!r}")


def scalars(record: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a record by name; of {"acceptance": {"value": a, "error": b}}, acceptance and acceptance_error."""
    for key, entry in record.items():
        name = f"{before}{key}"
        if isinstance(entry, Mapping) and entry.keys() == {"value", "error"}:
            yield from scalars({name: entry["value"], f"{name}_error": entry["error"]})
        elif isinstance(entry, Mapping):
            yield from scalars(entry, f"{name}/")
        elif isinstance(entry, Real) and not isinstance(entry, bool):
            yield name, float(entry)


class Logged(Forwarding):
    """An observer whose records loggers receive, too."""

    def __init__(self, observer: Observer, loggers: Loggers):
        super().__init__(observer)
        self._loggers = loggers

    def logged(self, record: dict[str, Any]) -> None:
        self._loggers.log(record)
        super().logged(record)

    def evaluated(self, step: int, evaluation: "Evaluation", seconds: float) -> None:
        self._loggers.log({"step": step, "evaluation": {**plain(evaluation), "seconds": seconds}})
        super().evaluated(step, evaluation, seconds)


def plain(evaluation: "Evaluation") -> dict[str, Any]:
    """An evaluation as a mapping, its estimates as {"value": ..., "error": ...}."""
    entries = evaluation._asdict().items()
    return {name: value._asdict() if hasattr(value, "_asdict") else value for name, value in entries}
