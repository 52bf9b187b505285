"""The reverse Kullback-Leibler divergence with the path gradient."""

import jax
import jax.numpy as jnp

from trivmap._types import Scalar
from trivmap.actions import AbstractAction
from trivmap.flows import Flow
from trivmap.objectives.objective import AbstractObjective, Noise, Residuals


class PathGradient(AbstractObjective):
    """grad = E[ d(log q + S/T)/dphi . dphi/dtheta ], the explicit derivative of log q dropped (2206.09016, 2403.15881).

    The dropped term has mean zero, so the estimator is unbiased for the gradient of the reverse KL; what is left
    vanishes for every single sample where q = p, so its variance does too.
    """

    def __call__(
        self, flow: Flow, action: AbstractAction, noise: Noise, temperature: Scalar
    ) -> tuple[Scalar, Residuals]:
        fields, log_densities, scores = jax.vmap(flow.push_with_score)(noise)
        fixed = jax.lax.stop_gradient(fields)
        total = jax.lax.stop_gradient(scores) - jax.vmap(action.force)(fixed) / temperature.astype(fields.dtype)
        surrogate = jnp.sum(total * fields) / len(noise)
        energies = jax.vmap(action)(fixed) / temperature.astype(log_densities.dtype)
        return surrogate, jax.lax.stop_gradient(log_densities + energies)
