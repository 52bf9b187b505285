"""The messages of training to the caller, whose objects handle progress, logging and saving."""

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from trivmap.training.evaluation import Evaluation
    from trivmap.training.state import TrainingState


@runtime_checkable
class Observer(Protocol):
    """Receives the events of training."""

    def logged(self, record: dict[str, Any]) -> None:
        """Called each chunk with step, configurations, loss, ESS, learning rate, temperature, gradient norm, batch."""

    def evaluated(self, step: int, evaluation: "Evaluation", seconds: float) -> None:
        """Called after each evaluation on fresh proposals, which took `seconds`."""

    def save(self, state: "TrainingState") -> None:
        """Called at every checkpoint, and whenever training stops."""

    def interrupted(self) -> bool:
        """Whether to save and stop after this chunk."""
        ...


class NoObserver:
    """An observer that does nothing."""

    def logged(self, record: dict[str, Any]) -> None:
        pass

    def evaluated(self, step: int, evaluation: "Evaluation", seconds: float) -> None:
        pass

    def save(self, state: "TrainingState") -> None:
        pass

    def interrupted(self) -> bool:
        return False


class Forwarding:
    """An observer that passes every message on to another one; a subclass adds to it."""

    def __init__(self, observer: Observer):
        self._observer = observer

    def logged(self, record: dict[str, Any]) -> None:
        self._observer.logged(record)

    def evaluated(self, step: int, evaluation: "Evaluation", seconds: float) -> None:
        self._observer.evaluated(step, evaluation, seconds)

    def save(self, state: "TrainingState") -> None:
        self._observer.save(state)

    def interrupted(self) -> bool:
        return self._observer.interrupted()
