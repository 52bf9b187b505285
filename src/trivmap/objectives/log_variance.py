"""The log-variance divergence."""

from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from trivmap._types import Scalar
from trivmap.actions import AbstractAction
from trivmap.arguments import OneOf, bounded
from trivmap.devices import shard_batch
from trivmap.flows import Flow
from trivmap.objectives.forward_kl import residuals_at
from trivmap.objectives.objective import AbstractObjective, Draws, Kind, Residuals, with_value
from trivmap.objectives.path_gradient import residual_and_path


class LogVariance(AbstractObjective):
    """The log-variance divergence 1/2 Var_r[log q + S/T] over configurations that stay fixed (arXiv:2307.01198).

    Its gradient is the covariance of log q + S/T and d log q(phi) / d theta at fixed phi. On the flow's own
    configurations, r = q, its mean is that of the reverse KL: the mean of the residual is a control variate. On
    configurations of the target it sees modes that the flow does not propose.

    Args:
        over: r: `noise`, the flow's own configurations, or `data`, those of the target

    Raises `InputError` for any other word.
    """

    over: str = eqx.field(static=True)

    @bounded
    def __init__(self, over: Annotated[str, OneOf(("noise", "data"))] = "noise"):
        self.over = over

    @property
    def draws(self) -> frozenset[Kind]:
        return frozenset({"data"} if self.over == "data" else {"noise"})

    def __call__(
        self, flow: Flow, action: AbstractAction, draws: Draws, temperature: Scalar
    ) -> tuple[Scalar, Residuals]:
        if self.over == "data":
            residuals = shard_batch(residuals_at, (flow, action), draws.data)
            return 0.5 * jnp.var(residuals), -residuals
        residuals, fixed = shard_batch(_parts, (flow, action, temperature), draws.noise)
        residuals = jax.lax.stop_gradient(residuals)
        surrogate = jnp.mean((residuals - jnp.mean(residuals)) * fixed)
        return with_value(surrogate, 0.5 * jnp.var(residuals)), residuals


def _parts(of: tuple[Flow, AbstractAction, Scalar], noise: Array) -> tuple[Residuals, Float[Array, " batch"]]:
    """For each configuration: the residual, and a number whose derivative is that of log q in theta at fixed phi."""
    flow, action, temperature = of
    residuals, paths = jax.vmap(lambda z: residual_and_path(flow, action, z, temperature))(noise)
    return residuals, residuals - paths
