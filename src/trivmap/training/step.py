"""One chunk of training: many optimizer steps in one compiled loop, without transfers to the host in between."""

from collections.abc import Callable
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from trivmap._types import Scalar
from trivmap.actions import AbstractAction
from trivmap.devices import replicate
from trivmap.flows import Flow
from trivmap.objectives import Draws, residual_and_path
from trivmap.optimizers import Problem
from trivmap.optimizers.packing import pack, unpack
from trivmap.training.data import AbstractData
from trivmap.training.draws import METRICS, data_key, draw_noise, draw_offset, metrics
from trivmap.training.state import TrainingPlan, TrainingState

Chunk = Callable[
    [TrainingState, Int[Array, ""], AbstractData | None], tuple[TrainingState, Float[Array, "chunk metrics"]]
]


def make_chunk(static: Flow, action: AbstractAction, plan: TrainingPlan, batch: int) -> Chunk:
    """A function that takes up to `plan.chunk` steps of `batch` configurations, to be compiled once per batch size.

    `static` is the flow without its parameters. The number of steps is an argument, so that a chunk cut short by an
    evaluation or a checkpoint runs the same program. The source of data is an argument too, since its arrays may be
    long.
    """
    step = _make_step(static, action, plan, batch)

    def chunk(
        state: TrainingState, steps: Int[Array, ""], data: AbstractData | None = None
    ) -> tuple[TrainingState, Float[Array, "chunk metrics"]]:
        def body(index, carry):
            state, rows = carry
            state, row = step(state, form, data)
            return state, jax.lax.dynamic_update_index_in_dim(rows, row, index, 0)

        form = state.parameters
        rows = jnp.full((plan.chunk, len(METRICS)), jnp.nan, jnp.float32)
        state, rows = jax.lax.fori_loop(0, steps, body, (_with_trees(state, pack), rows))
        return replicate((_with_trees(state, lambda vectors: unpack(vectors, form)), rows))

    return chunk


def _make_step(
    static: Flow, action: AbstractAction, plan: TrainingPlan, batch: int
) -> Callable[[TrainingState, PyTree, AbstractData | None], tuple[TrainingState, Float[Array, " metrics"]]]:
    """(state, the parameters as a tree, data) -> (state, metrics), the parameters of the state packed."""
    objective, volume = plan.objective, float(static.lattice.volume)

    def step(
        state: TrainingState, form: PyTree, data: AbstractData | None
    ) -> tuple[TrainingState, Float[Array, " metrics"]]:
        offset, temperature = draw_offset(state), jnp.asarray(plan.temperature(state.step), jnp.float32)

        def flow_at(parameters: PyTree) -> Flow:
            return eqx.combine(parameters, static).perturbed(offset)

        def residual(parameters: PyTree, z: Array) -> Scalar:
            field, log_density = flow_at(parameters).push(z)
            return log_density + action(field) / temperature.astype(log_density.dtype)

        def diverged(typical: Scalar) -> Bool[Array, ""]:
            # A margin of 3 nats per site leaves room for annealing.
            first = jnp.where(state.step == 0, typical, state.first_loss)
            return ~(typical < first + 3.0 * jnp.maximum(jnp.abs(first), volume))

        fields, moved = None, None
        if data is not None:
            before = flow_at(unpack(state.parameters, form))
            fields, moved = data.draw(state.data, before, action, data_key(state), batch)

        def draw() -> Draws:
            return Draws(draw_noise(static, state, batch) if "noise" in objective.draws else None, fields)

        problem = Problem(
            draw=draw,
            surrogate=lambda parameters, draws: objective(flow_at(parameters), action, draws, temperature),
            residual=residual,
            pair=lambda parameters, z: residual_and_path(flow_at(parameters), action, z, temperature),
            l2_weights=lambda: eqx.filter(eqx.combine(form, static).l2_weights(), eqx.is_inexact_array),
            least_squares=objective.least_squares,
            form=form,
            step=state.step,
            steps=plan.steps,
            diverged=diverged,
            failed=state.failed,
        )
        parameters, inner, taken = plan.optimizer.advance(problem, state.parameters, state.optimizer)
        averaged, failed = state.averaged, state.failed | taken.failed
        if plan.moving_average is not None:
            decay, good = plan.moving_average, plan.optimizer.accepted(parameters, inner)
            averaged = jax.tree.map(lambda a, p: jnp.where(failed, a, decay * a + (1 - decay) * p), averaged, good)
        typical = jnp.median(taken.monitored).astype(jnp.float32)
        new = TrainingState(
            parameters=parameters,
            averaged=averaged,
            optimizer=inner,
            step=jnp.where(failed, state.step, state.step + 1),
            key=state.key,
            first_loss=jnp.where((state.step == 0) & ~failed, typical, state.first_loss),
            failed=failed,
            data=jax.tree.map(lambda old, new: jnp.where(failed, old, new), state.data, moved),
        )
        return new, metrics(taken, temperature, weights="noise" in objective.draws)

    return step


def _with_trees(state: TrainingState, change: Callable[[PyTree], PyTree]) -> TrainingState:
    """The state with its parameters, and their average if there is one, in another form."""
    averaged = None if state.averaged is None else change(state.averaged)
    return replace(state, parameters=change(state.parameters), averaged=averaged)
