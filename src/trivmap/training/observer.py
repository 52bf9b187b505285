"""The messages of a training to the outside: progress, logging and saving are objects handed in."""

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from trivmap.training.evaluation import Evaluation
    from trivmap.training.state import TrainingState


@runtime_checkable
class Observer(Protocol):
    """Receives what happens during training."""

    def logged(self, record: dict[str, Any]) -> None:
        """After each chunk: step, configurations, loss, ESS, learning rate, temperature, gradient norm, batch."""

    def evaluated(self, step: int, evaluation: "Evaluation", seconds: float) -> None:
        """After each evaluation on fresh proposals, which took `seconds`."""

    def save(self, state: "TrainingState") -> None:
        """At every checkpoint, and whenever training stops."""

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
