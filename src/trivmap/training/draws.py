"""The random draws and the metrics of a training step, for first- and second-order optimizers alike."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from trivmap._types import Key, Scalar
from trivmap.devices import shard_batch
from trivmap.flows import Flow
from trivmap.objectives.objective import Noise
from trivmap.optimizers.optimizer import Taken
from trivmap.training.state import TrainingState

METRICS = ("loss", "loss_variance", "ess", "gradient_norm", "learning_rate", "temperature", "damping")
"""Numbers of each step of a chunk, one column each; NaN if the optimizer does not have that number."""


def draw_noise(static: Flow, state: TrainingState, batch: int) -> Noise:
    """The noise of the next step: a function of the run's key and the step only."""
    keys = jax.random.split(jax.random.fold_in(state.key, state.step), batch)
    return shard_batch(lambda static, keys: jax.vmap(static.noise)(keys), static, keys)


def draw_offset(state: TrainingState) -> Scalar:
    """The shift u in [0, 1) of the time grids in the next step."""
    key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), 2**32 - 1)
    return jax.random.uniform(key, (), jnp.float32)


def data_key(state: TrainingState) -> Key:
    """The key of the data of the next step."""
    return jax.random.fold_in(jax.random.fold_in(state.key, state.step), 2**32 - 2)


def metrics(taken: Taken, temperature: Scalar, *, weights: bool) -> Float[Array, " metrics"]:
    """The row of `METRICS` of one step; `weights`: whether the monitored values are -log w of the flow's proposals."""
    monitored = taken.monitored
    log_ratio = jnp.min(monitored) - monitored
    ess = jnp.square(jnp.sum(jnp.exp(log_ratio))) / (len(monitored) * jnp.sum(jnp.exp(2 * log_ratio)))
    row = (
        jnp.mean(monitored),
        jnp.var(monitored),
        ess if weights else jnp.nan,
        taken.gradient_norm,
        taken.learning_rate,
        temperature,
        taken.damping,
    )
    return jnp.stack([jnp.asarray(value).astype(jnp.float32) for value in row])
