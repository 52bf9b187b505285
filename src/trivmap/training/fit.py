"""Training in one call, for notebooks and scripts."""

import contextlib
import warnings
from collections.abc import Sequence
from typing import Any

import jax

from trivmap._types import Key
from trivmap.actions import AbstractAction
from trivmap.diagnostics import certificate
from trivmap.errors import InputError
from trivmap.flows import Flow
from trivmap.objectives import AbstractObjective, PathGradient, Variance
from trivmap.optimizers import AbstractOptimizer, GaussNewton, first_order
from trivmap.progress import Line
from trivmap.training.evaluation import Evaluation
from trivmap.training.loggers import Logged, Logger, Loggers
from trivmap.training.observer import Forwarding, NoObserver, Observer
from trivmap.training.schedules import Phase, cosine_rate
from trivmap.training.state import TrainingPlan
from trivmap.training.trainer import Trainer


def fit(
    flow: Flow,
    action: AbstractAction,
    key: Key,
    *,
    steps: int = 20,
    batch: int = 256,
    optimizer: str | AbstractOptimizer | None = None,
    learning_rate: float | None = None,
    objective: AbstractObjective | None = None,
    progress: bool = False,
    observer: Observer | None = None,
    loggers: Sequence[Logger] = (),
) -> tuple[Flow, Evaluation]:
    """Train a flow; returns it and its evaluation on fresh proposals.

    A continuous flow is returned with the number of integration steps that its certificate requires.

    Gauss-Newton on the variance of log q + S, the method of the presets, suits a flow with up to a few thousand
    parameters, such as that of `recommended`: 15 to 30 steps. A first-order optimizer suits networks: its learning rate
    rises in a short warm-up and falls along a cosine. `Trainer` with a `TrainingPlan` gives full control:
    annealing, stopping, checkpoints.

    Args:
        flow: the flow to start from.
        action: S of the target exp(-S); for a flow of the even sites `actions.Decimated`.
        key: the key of all random numbers.
        steps: training steps.
        batch: configurations of each step.
        optimizer: `gauss-newton`, the name of an optimizer of optax such as `adam`, or an optimizer; by default
            Gauss-Newton, or `adam` if a `learning_rate` is given.
        learning_rate: the largest learning rate of a first-order optimizer (3e-3 if it is named without one).
        objective: the quantity that is minimized: by default the variance for Gauss-Newton, otherwise the reverse KL by
            its path gradient.
        progress: show a line with the steps and the time left.
        observer: receives every record, evaluation and checkpoint.
        loggers: receive the scalars of every record and evaluation, for example `TensorBoard("logs")`.

    Raises:
        InputError: for settings that do not fit together, or a flow that does not fit the action.
        FloatingPointError: if training diverges, or the certificate of the trained flow fails.
    """
    chosen = _optimizer(optimizer, learning_rate, steps)
    plan = TrainingPlan(
        objective=objective or (Variance() if isinstance(chosen, GaussNewton) else PathGradient()),
        optimizer=chosen,
        phases=[Phase(steps, batch)],
        evaluate_every=max(1, steps),
        checkpoint_every=max(1, steps),
        chunk=max(1, min(100, steps // 20 if progress or loggers else steps)),
    )
    with contextlib.ExitStack() as watched:
        watching = observer or NoObserver()
        if loggers:
            passing = Loggers(loggers, lambda text: warnings.warn(text, stacklevel=2))
            watched.callback(passing.close)
            watching = Logged(watching, passing)
        if progress:
            watching = watched.enter_context(_Shown(watching, steps))
        trainer = Trainer(flow, action, plan, key, watching)
        outcome = trainer.run(trainer.initial_state())
    if outcome.status == "failed":
        raise FloatingPointError(outcome.message)
    trained, evaluation = trainer.flow(outcome.state), outcome.evaluation or trainer.evaluate(outcome.state)
    found = certificate(trained, action, jax.random.fold_in(key, 2**32 - 3))
    if found is not None and not found.passed:
        raise FloatingPointError(
            f"fit: the log-weights of the trained flow are wrong by {found.mean:.2g} +- {found.spread:.2g} even at "
            f"{found.steps} integration steps; train with more smoothness, or fewer times"
        )
    return trained if found is None else trained.with_integration_steps(found.steps), evaluation


def _optimizer(optimizer: str | AbstractOptimizer | None, learning_rate: float | None, steps: int) -> AbstractOptimizer:
    named = optimizer or ("gauss-newton" if learning_rate is None else "adam")
    if named == "gauss-newton":
        named = GaussNewton()
    if isinstance(named, AbstractOptimizer):
        if learning_rate is not None:
            raise InputError(f"learning_rate: of no use to {type(named).__name__}; leave it out, or name adam")
        return named
    return first_order(named, cosine_rate(learning_rate or 3e-3, steps, warmup=min(50, steps // 10)))


class _Shown(Forwarding):
    """An observer with progress on a line."""

    def __init__(self, observer: Observer, steps: int):
        super().__init__(observer)
        self._line = Line()
        self._line.begin("train", steps)

    def __enter__(self) -> "_Shown":
        return self

    def __exit__(self, *_: object) -> None:
        self._line.end()

    def logged(self, record: dict[str, Any]) -> None:
        self._line.update(record["step"], loss=record["loss"], ess=record.get("ess"))
        super().logged(record)

    def evaluated(self, step: int, evaluation: Evaluation, seconds: float) -> None:
        self._line.update(step, acceptance=evaluation.acceptance.value, ess=evaluation.ess.value)
        super().evaluated(step, evaluation, seconds)
