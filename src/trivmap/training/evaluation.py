"""The quality of a flow, measured on fresh proposals, never on proposals that it was trained on."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from trivmap._types import Key
from trivmap.actions import AbstractAction
from trivmap.devices import replicate, shard_batch
from trivmap.diagnostics import acceptance, effective_sample_size, log_z
from trivmap.errors import InputError
from trivmap.estimate import Estimate
from trivmap.flows import Flow

FEWEST_PROPOSALS = 4096


class Evaluation(NamedTuple):
    """Acceptance in equilibrium, ESS and log Z with their errors, and the mean of log q + S (KL up to log Z)."""

    acceptance: Estimate
    ess: Estimate
    log_z: Estimate
    loss: Estimate
    proposals: int


@eqx.filter_jit
def draw_log_weights(
    flow: Flow, action: AbstractAction, key: Key, batches: int, batch: int
) -> Float[Array, "batches batch"]:
    """Log-weights -S - log q of `batches` x `batch` proposals, made one batch at a time."""

    def residuals(of: tuple[Flow, AbstractAction], keys: Array) -> Array:
        flow, action = of
        return jax.lax.map(
            lambda k: flow.residual(action, flow.noise(k)), keys, batch_size=flow.micro_batch or len(keys)
        )

    def one(index: Array) -> Float[Array, " batch"]:
        return -shard_batch(residuals, (flow, action), jax.random.split(jax.random.fold_in(key, index), batch))

    return replicate(jax.lax.map(one, jnp.arange(batches)))


def evaluate(flow: Flow, action: AbstractAction, key: Key, *, proposals: int = 4096, batch: int = 1024) -> Evaluation:
    """Judge a flow on at least `proposals` fresh proposals (rounded up to whole batches).

    Raises `InputError` below 4096 proposals: acceptance and ESS from fewer are too noisy to quote.
    """
    batches = _batches(proposals, batch)
    log_weights = np.asarray(draw_log_weights(flow, action, key, batches, batch), dtype=np.float64).ravel()
    loss = Estimate(float(-log_weights.mean()), float(log_weights.std() / np.sqrt(len(log_weights))))
    return Evaluation(
        acceptance(log_weights), effective_sample_size(log_weights), log_z(log_weights), loss, len(log_weights)
    )


def evaluation_call(
    flow: Flow, action: AbstractAction, key: Key, *, proposals: int, batch: int
) -> tuple[Any, tuple[Any, ...]]:
    """The function that `evaluate` calls, with its arguments, so that it can be compiled beforehand."""
    return draw_log_weights, (flow, action, key, _batches(proposals, batch), batch)


def _batches(proposals: int, batch: int) -> int:
    if proposals < FEWEST_PROPOSALS:
        raise InputError(f"evaluate.proposals: at least {FEWEST_PROPOSALS} are needed, got {proposals}")
    return -(-proposals // batch)
