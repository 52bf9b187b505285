"""The full state of a training run, and the plan that drives it."""

from collections.abc import Sequence
from dataclasses import dataclass

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int, PyTree

from trivmap._types import Key
from trivmap.errors import InputError
from trivmap.objectives import AbstractObjective
from trivmap.optimizers import AbstractOptimizer
from trivmap.training.data import AbstractData
from trivmap.training.evaluation import FEWEST_PROPOSALS
from trivmap.training.schedules import Phase, Schedule, constant_rate

_ONE = constant_rate(1.0)


class TrainingState(eqx.Module):
    """Everything that the next step depends on; a run continues bit-identically from a saved state."""

    parameters: PyTree
    averaged: PyTree | None
    """Exponential moving average of the parameters, if requested; it is bias-corrected on reading."""
    optimizer: PyTree
    step: Int[Array, ""]
    key: Key
    first_loss: Float[Array, ""]
    """Median of log q + S/T in the first step, the reference for detecting divergence."""
    failed: Bool[Array, ""]
    """Set by a step whose loss or gradient diverged or was not finite; such a step changes nothing else."""
    data: PyTree = None
    """The state of the source of configurations."""


@dataclass(frozen=True)
class TrainingPlan:
    """A plan of training: the quantity minimized, the steps, the evaluations, the end.

    `phases` are pairs (steps, batch). `data` is the source for an objective that needs configurations of the target.
    `moving_average` is the decay of the weights' average that is evaluated and kept instead of the last weights.
    Training stops at the end of the phases, when an evaluation's acceptance minus one error exceeds `stop_acceptance`,
    or at the first chunk's end after `stop_seconds`.

    Raises `InputError` for numbers out of range and for an objective, data and optimizer that do not fit together.
    """

    objective: AbstractObjective
    optimizer: AbstractOptimizer
    phases: Sequence[Phase]
    temperature: Schedule = _ONE
    data: AbstractData | None = None
    moving_average: float | None = None
    chunk: int = 10
    evaluate_every: int = 100
    evaluate_proposals: int = FEWEST_PROPOSALS
    evaluate_batch: int = 1024
    checkpoint_every: int = 100
    stop_acceptance: float | None = None
    stop_seconds: float | None = None

    def __post_init__(self):
        for name in ("chunk", "evaluate_every", "checkpoint_every", "evaluate_batch"):
            if getattr(self, name) < 1:
                raise InputError(f"training.{name}: must be at least 1, got {getattr(self, name)}")
        if self.moving_average is not None and not 0 <= self.moving_average < 1:
            raise InputError(f"training.ema: the decay must lie in [0, 1), got {self.moving_average}")
        if "data" in self.objective.draws and self.data is None:
            raise InputError(
                f"training.data: missing; {type(self.objective).__name__} is estimated on configurations of the target"
            )
        if self.data is not None and "data" not in self.objective.draws:
            raise InputError(f"training.data: of no use to {type(self.objective).__name__}; leave it out")
        if self.objective.least_squares is not None and "noise" not in self.objective.draws:
            raise InputError(f"objective: {type(self.objective).__name__} has a least-squares form without noise")
        if any(phase.steps < 0 or phase.batch < 1 for phase in self.phases):
            raise InputError("training.batch: every phase needs at least one configuration and no negative steps")

    def initial_optimizer_state(self, parameters: PyTree) -> PyTree:
        """The state of the optimizer before the first step."""
        return self.optimizer.begin(parameters, self.phases[0].batch, self.objective.least_squares)

    def rehearse_optimizer(self, parameters: PyTree) -> PyTree:
        """Trace the part of a step that does not need a flow."""
        return self.optimizer.rehearse(parameters, self.phases[0].batch, self.objective.least_squares)

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)

    def configurations_until(self, step: int) -> int:
        """Number of configurations on which the first `step` steps evaluate the map."""
        kinds, more = len(self.objective.draws), self.data.evaluations if self.data else 0
        total, done = 0, 0
        for phase in self.phases:
            taken = min(phase.steps, max(0, step - done))
            total, done = total + taken * (phase.batch * kinds + more), done + phase.steps
        return total
