"""The reverse Kullback-Leibler divergence with the reparametrised gradient."""

import jax
import jax.numpy as jnp

from trivmap._types import Scalar
from trivmap.actions import AbstractAction
from trivmap.flows import Flow
from trivmap.objectives.objective import AbstractObjective, Noise, Residuals


class ReverseKL(AbstractObjective):
    """E_q[log q + S/T] = KL(q || p) - log Z, differentiated through the sample and through log q (1904.12072)."""

    def __call__(
        self, flow: Flow, action: AbstractAction, noise: Noise, temperature: Scalar
    ) -> tuple[Scalar, Residuals]:
        fields, log_densities = jax.vmap(flow.push)(noise)
        residuals = log_densities + jax.vmap(action)(fields) / temperature.astype(log_densities.dtype)
        return jnp.mean(residuals), residuals
