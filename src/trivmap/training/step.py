"""One chunk of training: many optimizer steps in one compiled loop, nothing pulled to the host between them."""

from collections.abc import Callable
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from trivmap.actions import AbstractAction
from trivmap.devices import replicated
from trivmap.flows import Flow
from trivmap.objectives import ReverseKL
from trivmap.objectives.objective import Noise
from trivmap.optimizers import GaussNewton
from trivmap.optimizers.packing import pack, unpack
from trivmap.training import second_order
from trivmap.training.draws import METRICS, draw_noise, draw_offset, metrics
from trivmap.training.state import TrainingPlan, TrainingState

Chunk = Callable[[TrainingState, Int[Array, ""]], tuple[TrainingState, Float[Array, "chunk metrics"]]]


def make_chunk(static: Flow, action: AbstractAction, plan: TrainingPlan, batch: int) -> Chunk:
    """A function that takes up to `plan.chunk` steps of `batch` configurations, to be compiled once per batch size.

    `static` is the flow without its parameters. The number of steps is an argument, so that a chunk cut short by an
    evaluation or a checkpoint runs the same program.
    """
    make = second_order.make_step if isinstance(plan.optimizer, GaussNewton) else _first_order_step
    step = make(static, action, plan, batch)

    def chunk(state: TrainingState, steps: Int[Array, ""]) -> tuple[TrainingState, Float[Array, "chunk metrics"]]:
        def body(index, carry):
            state, rows = carry
            state, row = step(state, form)
            return state, jax.lax.dynamic_update_index_in_dim(rows, row, index, 0)

        form = state.parameters
        rows = jnp.full((plan.chunk, len(METRICS)), jnp.nan, jnp.float32)
        state, rows = jax.lax.fori_loop(0, steps, body, (_with_trees(state, pack), rows))
        return replicated((_with_trees(state, lambda vectors: unpack(vectors, form)), rows))

    return chunk


def _first_order_step(
    static: Flow, action: AbstractAction, plan: TrainingPlan, batch: int
) -> Callable[[TrainingState, PyTree], tuple[TrainingState, Float[Array, " metrics"]]]:
    volume, update = static.lattice.volume, plan.first_order.update

    def step(state: TrainingState, form: PyTree) -> tuple[TrainingState, Float[Array, " metrics"]]:
        noise = _behind_a_wall(lambda: draw_noise(static, state, batch), state.failed)
        offset = draw_offset(state)
        parameters = unpack(state.parameters, form)
        temperature = jnp.asarray(plan.temperature(state.step), jnp.float32)

        def surrogate(parameters, objective=plan.objective):
            return objective(eqx.combine(parameters, static).perturbed(offset), action, noise, temperature)

        (_, residuals), gradient = jax.value_and_grad(surrogate, has_aux=True)(parameters)
        loss = jnp.mean(residuals).astype(jnp.float32)
        norm = optax.tree.norm(pack(gradient)).astype(jnp.float32)
        # The median: one configuration of a heavy tail is no divergence. 3 nats per site leave room for annealing.
        typical = jnp.median(residuals).astype(jnp.float32)
        first_loss = jnp.where(state.step == 0, typical, state.first_loss)
        limit = first_loss + 3.0 * jnp.maximum(jnp.abs(first_loss), float(volume))
        good = jnp.isfinite(loss) & jnp.isfinite(norm) & (typical < limit) & ~state.failed

        def take() -> TrainingState:
            updates, optimizer = update(
                gradient,
                state.optimizer,
                parameters,
                value=loss,
                grad=gradient,
                value_fn=lambda parameters: surrogate(parameters, ReverseKL())[0].astype(jnp.float32),
            )
            moved, averaged = optax.apply_updates(state.parameters, pack(updates)), state.averaged
            if plan.moving_average is not None:
                decay = plan.moving_average
                averaged = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, averaged, moved)
            return TrainingState(moved, averaged, optimizer, state.step + 1, state.key, first_loss, state.failed)

        # A branch, not a selection: a good step updates everything in place.
        new = jax.lax.cond(good, take, lambda: eqx.tree_at(lambda s: s.failed, state, jnp.asarray(True)))

        rate = plan.learning_rate(state.step)
        row = metrics(residuals, gradient_norm=norm, learning_rate=rate, temperature=temperature, damping=jnp.nan)
        return new, row

    return step


def _with_trees(state: TrainingState, change: Callable[[PyTree], PyTree]) -> TrainingState:
    """The state with its parameters, and their average where there is one, in another form."""
    averaged = None if state.averaged is None else change(state.averaged)
    return replace(state, parameters=change(state.parameters), averaged=averaged)


def _behind_a_wall(draw: Callable[[], Noise], skip: Bool[Array, ""]) -> Noise:
    """`draw()`, or zeros where it is not wanted.

    The branch keeps XLA from fusing the draw into everything that uses the noise, to be computed again in each.
    """
    form = jax.eval_shape(draw)
    return jax.lax.cond(skip, lambda: jnp.zeros(form.shape, form.dtype), draw)
