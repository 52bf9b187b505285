"""The reverse Kullback-Leibler divergence with the path gradient."""

from typing import Literal

import jax
import jax.numpy as jnp

from trivmap._types import Field, Scalar
from trivmap.actions import AbstractAction
from trivmap.devices import shard_batch
from trivmap.flows import Flow
from trivmap.objectives.objective import AbstractObjective, Draws, Noise, Residuals, with_value


class PathGradient(AbstractObjective):
    """The reverse KL divergence by its path gradient, E_q[(d(log q + S/T)/dphi) dphi/dtheta] (arXiv:2206.09016).

    The explicit derivative of log q in theta is dropped. It has mean zero, so the estimator is unbiased for the
    gradient of the reverse KL; the rest vanishes for every single sample if q = p, so its variance does too
    (arXiv:2403.15881).
    """

    @property
    def least_squares(self) -> Literal["kl"]:
        return "kl"

    def __call__(
        self, flow: Flow, action: AbstractAction, draws: Draws, temperature: Scalar
    ) -> tuple[Scalar, Residuals]:
        weighted, residuals = shard_batch(_terms, (flow, action, temperature), draws.noise)
        return with_value(jnp.sum(weighted) / len(residuals), jnp.mean(residuals)), residuals


def _terms(of: tuple[Flow, AbstractAction, Scalar], noise: Noise) -> tuple[Noise, Residuals]:
    """The terms of the surrogate, site by site, and the residual, for each configuration."""
    flow, action, temperature = of
    fields, log_densities, scores = jax.vmap(flow.push_with_score)(noise)
    fixed = jax.lax.stop_gradient(fields)
    total = jax.lax.stop_gradient(scores) - jax.vmap(action.force)(fixed) / temperature.astype(fields.dtype)
    energies = jax.vmap(action)(fixed) / temperature.astype(log_densities.dtype)
    return total * jax.vmap(flow.drawn)(fields), jax.lax.stop_gradient(log_densities + energies)


def residual_and_path(flow: Flow, action: AbstractAction, z: Field, temperature: Scalar) -> tuple[Scalar, Scalar]:
    """(f, p) of one configuration: f = log q + S/T, and p, whose derivative is the path-gradient part of that of f.

    d(f - p)/dtheta is then the derivative of log q in theta at fixed phi, which has mean zero.
    """
    field, log_density, score = flow.push_with_score(z)
    total = jax.lax.stop_gradient(score - action.force(field) / temperature.astype(field.dtype))
    energy = action(field) / temperature.astype(log_density.dtype)
    return log_density + energy, jnp.sum(total * flow.drawn(field)).astype(log_density.dtype)
