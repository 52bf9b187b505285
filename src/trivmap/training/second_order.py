"""One chunk of training by a second-order optimizer, which sees the residual of every configuration."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from trivmap._types import Scalar
from trivmap.actions import AbstractAction
from trivmap.flows import Flow
from trivmap.objectives import residual_and_path
from trivmap.optimizers import GaussNewton
from trivmap.optimizers.gauss_newton import Objective
from trivmap.optimizers.packing import Vectors, pack, unpack
from trivmap.training.draws import draw_noise, draw_offset, metrics
from trivmap.training.state import TrainingPlan, TrainingState

MOST_REFUSALS = 20
"""Steps refused in a row, the damping raised each time, after which training has failed."""


def make_step(static: Flow, action: AbstractAction, plan: TrainingPlan, batch: int):
    """(state, the parameters as a tree) -> (state, metrics), as the first-order step, but with packed parameters.

    A step whose residuals are not finite or have spread is refused by the optimizer itself, which then tries again
    closer to the last good parameters.
    """
    optimizer = plan.optimizer
    assert isinstance(optimizer, GaussNewton)
    finish_begins = plan.steps - optimizer.finish

    def step(state: TrainingState, form: Flow) -> tuple[TrainingState, Float[Array, " metrics"]]:
        ((name, vector),) = state.parameters.items()
        noise = draw_noise(static, state, batch)
        offset = draw_offset(state)
        temperature = jnp.asarray(plan.temperature(state.step), jnp.float32)

        def flow_at(parameters: Array) -> Flow:
            return eqx.combine(unpack({name: parameters}, form), static).perturbed(offset)

        def residual(parameters: Array, z: Array) -> Scalar:
            field, log_density = flow_at(parameters).push(z)
            return log_density + action(field) / temperature.astype(log_density.dtype)

        def pair(parameters: Array, z: Array) -> tuple[Scalar, Scalar]:
            return residual_and_path(flow_at(parameters), action, z, temperature)

        ridge = pack(eqx.filter(eqx.combine(form, static).ridge(), eqx.is_inexact_array))[name]

        def step_on(objective: Objective):
            function = pair if objective == "kl" else residual
            return optimizer.step(function, vector, noise, state.optimizer, ridge, objective)

        if optimizer.finish:
            moved, inner, info = jax.lax.cond(
                state.step < finish_begins, lambda: step_on("variance"), lambda: step_on("kl")
            )
        else:
            moved, inner, info = step_on(optimizer.objective)
        parameters: Vectors = {name: moved}
        averaged = state.averaged
        if plan.moving_average is not None:
            decay = plan.moving_average
            # Of what has been accepted: a trial has not been judged yet.
            averaged = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, averaged, {name: inner.anchor})
        failed = state.failed | (inner.refused >= MOST_REFUSALS)
        first_loss = jnp.where(state.step == 0, jnp.median(info.residuals).astype(jnp.float32), state.first_loss)
        taken = TrainingState(parameters, averaged, inner, state.step + 1, state.key, first_loss, failed)
        kept = eqx.tree_at(lambda s: s.failed, state, jnp.asarray(True))
        new = jax.tree.map(lambda yes, no: jnp.where(failed, no, yes), taken, kept)
        row = metrics(
            info.residuals,
            gradient_norm=info.gradient_norm,
            learning_rate=jnp.nan,
            temperature=temperature,
            damping=inner.damping,
        )
        return new, row

    return step
