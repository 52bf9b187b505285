"""Training in one call, for notebooks and scripts."""

from trivmap._types import Key
from trivmap.actions import AbstractAction
from trivmap.flows import Flow
from trivmap.objectives import AbstractObjective, PathGradient
from trivmap.optimizers import first_order
from trivmap.training.evaluation import Evaluation
from trivmap.training.observer import Observer
from trivmap.training.schedules import Phase, constant_rate, cosine_rate
from trivmap.training.state import TrainingPlan
from trivmap.training.trainer import Trainer


def fit(
    flow: Flow,
    action: AbstractAction,
    key: Key,
    *,
    steps: int,
    batch: int = 256,
    learning_rate: float = 3e-3,
    objective: AbstractObjective | None = None,
    observer: Observer | None = None,
) -> tuple[Flow, Evaluation]:
    """Train by Adam with a short warm-up and a cosine; returns the flow and its evaluation on fresh proposals.

    `objective` is by default the path gradient of the reverse KL. `Trainer` with a `TrainingPlan` is the whole
    machinery: other optimizers, annealing, stopping, checkpoints. Raises `FloatingPointError` if training diverges.
    """
    rate = cosine_rate(learning_rate, steps, warmup=min(50, steps // 10))
    plan = TrainingPlan(
        objective=objective or PathGradient(),
        optimizer=first_order("adam", rate),
        temperature=constant_rate(1.0),
        phases=[Phase(steps, batch)],
        evaluate_every=max(1, steps),
        checkpoint_every=max(1, steps),
        chunk=max(1, min(100, steps)),
    )
    trainer = Trainer(flow, action, plan, key, observer)
    outcome = trainer.run(trainer.initial_state())
    if outcome.status == "failed":
        raise FloatingPointError(outcome.message)
    return trainer.flow(outcome.state), outcome.evaluation or trainer.evaluate(outcome.state)
