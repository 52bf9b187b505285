"""The reverse Kullback-Leibler divergence with the reparametrized gradient."""

from typing import Literal

import jax
import jax.numpy as jnp

from trivmap._types import Scalar
from trivmap.actions import AbstractAction
from trivmap.devices import shard_batch
from trivmap.flows import Flow
from trivmap.objectives.objective import AbstractObjective, Draws, Noise, Residuals


class ReverseKL(AbstractObjective):
    """The reverse KL divergence E_q[log q + S/T] = KL(q || p) - log Z, through its samples (arXiv:1904.12072)."""

    @property
    def least_squares(self) -> Literal["kl"]:
        return "kl"

    def __call__(
        self, flow: Flow, action: AbstractAction, draws: Draws, temperature: Scalar
    ) -> tuple[Scalar, Residuals]:
        residuals = shard_batch(residuals_of, (flow, action, temperature), draws.noise)
        return jnp.mean(residuals), residuals


def residuals_of(of: tuple[Flow, AbstractAction, Scalar], noise: Noise) -> Residuals:
    """log q + S/T of each configuration."""
    flow, action, temperature = of
    fields, log_densities = jax.vmap(flow.push)(noise)
    return log_densities + jax.vmap(action)(fields) / temperature.astype(log_densities.dtype)
