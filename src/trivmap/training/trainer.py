"""The training loop."""

import math
import time
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from trivmap._types import Key
from trivmap.actions import AbstractAction
from trivmap.ahead import compile_all
from trivmap.devices import to_host, using
from trivmap.estimate import Estimate
from trivmap.flows import Flow
from trivmap.processes import broadcast_from_main
from trivmap.training.data import begin
from trivmap.training.draws import METRICS
from trivmap.training.evaluation import Evaluation, evaluate, evaluation_call
from trivmap.training.observer import NoObserver, Observer
from trivmap.training.operations import operations
from trivmap.training.schedules import phase_at
from trivmap.training.state import TrainingPlan, TrainingState
from trivmap.training.step import Chunk, make_chunk


@dataclass(frozen=True)
class Outcome:
    """The end of a training: `status` is "finished", "acceptance", "seconds", "interrupted" or "failed"."""

    status: str
    state: TrainingState
    evaluation: Evaluation | None
    message: str = ""


class Trainer:
    """Trains a flow towards exp(-S) according to a plan; every random number comes from `key`.

    >>> trainer = Trainer(flow, action, plan, key)
    >>> outcome = trainer.run(trainer.initial_state())
    >>> flow = trainer.flow(outcome.state)
    """

    def __init__(
        self, flow: Flow, action: AbstractAction, plan: TrainingPlan, key: Key, observer: Observer | None = None
    ):
        flow.require_match(action, evaluate=True)
        self.action, self.plan, self.observer = action, plan, observer or NoObserver()
        self._parameters, self._static = eqx.partition(flow, eqx.is_inexact_array)
        self._train_key, self._evaluation_key = jax.random.split(key)
        self._chunks: dict[int, Chunk] = {}
        self.compile_seconds = 0.0

    def initial_state(self) -> TrainingState:
        """The state before the first step."""
        return TrainingState(
            parameters=self._parameters,
            averaged=None if self.plan.moving_average is None else jax.tree.map(jnp.zeros_like, self._parameters),
            optimizer=self.plan.initial_optimizer_state(self._parameters),
            step=jnp.zeros((), jnp.int32),
            key=self._train_key,
            first_loss=jnp.zeros((), jnp.float32),
            failed=jnp.asarray(False),
            data=self._first_data(),
        )

    def _first_data(self) -> PyTree:
        if self.plan.data is None:
            return None
        flow = eqx.combine(self._parameters, self._static)
        return begin(self.plan.data, flow, jax.random.fold_in(self._train_key, 2**32 - 2))

    def compile(self, state: TrainingState) -> None:
        """Compile in advance the steps for a state's batch size and, the first time, the evaluation."""
        self._program(state)

    def flow(self, state: TrainingState) -> Flow:
        """The flow of a state: with averaged weights if the plan averages, otherwise with the last weights."""
        parameters = self.plan.optimizer.accepted(state.parameters, state.optimizer)
        if self.plan.moving_average is not None and int(state.step) > 0:
            correction = 1 - self.plan.moving_average ** int(state.step)
            parameters = jax.tree.map(lambda average: average / correction, state.averaged)
        return eqx.combine(parameters, self._static)

    def evaluate(self, state: TrainingState) -> Evaluation:
        """Evaluate the flow of a state on fresh proposals; equal states give the same proposals."""
        return evaluate(*self._evaluation(state), **self._proposals)

    def operations(self, state: TrainingState) -> float:
        """Arithmetic operations of the next step, including its noise (one iteration for a matrix-free solver)."""
        with using(jax.local_devices()[:1]):
            return operations(self._chunk(state), state, jnp.ones((), jnp.int32), self.plan.data)

    def status(self, state: TrainingState, *, acceptance: Estimate | None = None, seconds: float = 0.0) -> str | None:
        """The way training has ended at a state, None if it has not.

        `acceptance` is the result of an evaluation of this state, `seconds` is the time spent so far.
        """
        target = self.plan.stop_acceptance
        if acceptance is not None and target is not None and acceptance.value - acceptance.error > target:
            return "acceptance"
        if int(state.step) >= self.plan.steps:
            return "finished"
        if self.plan.stop_seconds is not None and broadcast_from_main(seconds) >= self.plan.stop_seconds:
            return "seconds"
        return None

    def run(self, state: TrainingState, *, seconds_before: float = 0.0, acceptance: Estimate | None = None) -> Outcome:
        """Train from a state until the plan, an interruption or a failure ends it.

        `seconds_before` (spent before a resume) and `acceptance` (of the state to start from) count as in `status`.
        After a failure the outcome's state is the last one that was saved, or the first.
        """
        begun, plan, observer = time.monotonic() - seconds_before, self.plan, self.observer
        kept, evaluation = state, None
        status = self.status(state, acceptance=acceptance, seconds=seconds_before)
        while status is None:
            before = int(state.step)
            state, rows = self._advance(state, before)
            step = int(state.step)
            if step > before:
                observer.logged(self._record(rows[: step - before], step))
            if bool(state.failed):
                return self._failed(kept, step, rows[step - before])
            evaluation = None
            if step % plan.evaluate_every == 0 or step == plan.steps:
                evaluation = self._judge(state)
            status = self.status(
                state, acceptance=evaluation.acceptance if evaluation else None, seconds=time.monotonic() - begun
            )
            if status is None and observer.interrupted():
                status = "interrupted"
            if status or step % plan.checkpoint_every == 0:
                if not plan.optimizer.judges_itself:
                    # Only the loss of the next step shows whether the last update was good.
                    ahead, rows = to_host(self._program(state)(state, jnp.ones((), jnp.int32), self.plan.data))
                    if bool(ahead.failed):
                        return self._failed(kept, step, np.asarray(rows)[0])
                observer.save(state)
                kept = state
        return Outcome(status, state, evaluation)

    def _failed(self, kept: TrainingState, step: int, row: np.ndarray) -> Outcome:
        loss, norm = row[METRICS.index("loss")], row[METRICS.index("gradient_norm")]
        what = "became NaN or infinite" if not math.isfinite(loss + norm) else "diverged"
        message = (
            f"training {what} at step {step} (loss {loss:.4g}, gradient norm {norm:.4g}); "
            f"the good state of step {int(kept.step)} is kept; {self.plan.optimizer.advice}"
        )
        return Outcome("failed", kept, None, message)

    def _judge(self, state: TrainingState) -> Evaluation:
        begun = time.monotonic()
        evaluation = self.evaluate(state)
        self.observer.evaluated(int(state.step), evaluation, time.monotonic() - begun)
        return evaluation

    def _advance(self, state: TrainingState, step: int) -> tuple[TrainingState, np.ndarray]:
        """As many steps as fit before the next evaluation, checkpoint or change of batch size, at most a chunk."""
        plan = self.plan
        _, end = phase_at(plan.phases, step)
        for every in (plan.evaluate_every, plan.checkpoint_every, plan.chunk):
            end = min(end, (step // every + 1) * every)
        state, rows = to_host(self._program(state)(state, jnp.asarray(end - step, jnp.int32), plan.data))
        return state, np.asarray(rows)

    def _program(self, state: TrainingState) -> Chunk:
        """The compiled chunk for the batch size of the next step (after the end: of the last step)."""
        batch = self._batch(state)
        if batch not in self._chunks:
            begun = time.monotonic()
            given = (state, jnp.ones((), jnp.int32), self.plan.data)
            calls: list[tuple[Any, tuple[Any, ...]]] = [(jax.jit(self._chunk(state)), given)]
            if not self._chunks:
                # The program that evaluates the map is compiled now, so `evaluate` finds it ready.
                calls.append(evaluation_call(*self._evaluation(state), **self._proposals))
            self._chunks[batch], *_ = compile_all(*calls)
            self.compile_seconds += time.monotonic() - begun
        return self._chunks[batch]

    def _batch(self, state: TrainingState) -> int:
        return phase_at(self.plan.phases, min(int(state.step), self.plan.steps - 1))[0].batch

    def _chunk(self, state: TrainingState) -> Chunk:
        return make_chunk(self._static, self.action, self.plan, self._batch(state))

    def _evaluation(self, state: TrainingState) -> tuple[Flow, AbstractAction, Key]:
        return self.flow(state), self.action, jax.random.fold_in(self._evaluation_key, state.step)

    @property
    def _proposals(self) -> dict[str, int]:
        return {"proposals": self.plan.evaluate_proposals, "batch": self.plan.evaluate_batch}

    def _record(self, rows: np.ndarray, step: int) -> dict:
        phase, _ = phase_at(self.plan.phases, step - 1)
        column = dict(zip(METRICS, np.asarray(rows, np.float64).T, strict=True))
        record = {
            "step": step,
            "configurations": self.plan.configurations_until(step),
            "loss": float(column["loss"].mean()),
            "loss_error": float(np.sqrt(column["loss_variance"].mean() / (phase.batch * len(rows)))),
            "ess": float(column["ess"].mean()),
            "gradient_norm": float(column["gradient_norm"].mean()),
            "learning_rate": float(column["learning_rate"][-1]),
            "temperature": float(column["temperature"][-1]),
            "damping": float(column["damping"][-1]),
            "batch": phase.batch,
        }
        # A number that the optimizer does not have is left out; a NaN loss is reported.
        absent = ("learning_rate", "damping", "ess")
        return {name: value for name, value in record.items() if name not in absent or not math.isnan(value)}
