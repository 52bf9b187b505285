"""The forward Kullback-Leibler divergence, on configurations of the target."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from trivmap._types import Scalar
from trivmap.actions import AbstractAction
from trivmap.devices import shard_batch
from trivmap.flows import Flow
from trivmap.objectives.objective import AbstractObjective, Draws, Kind, Residuals


class ForwardKL(AbstractObjective):
    """The forward KL divergence KL(p || q) = -E_p[log q + S] - log Z, on configurations of the target.

    Its gradient is -E_p[d log q(phi) / d theta] at fixed phi. It sees every mode in the configurations, even if
    the flow does not propose it. The target is exp(-S) at any temperature.
    """

    @property
    def draws(self) -> frozenset[Kind]:
        return frozenset({"data"})

    def __call__(
        self, flow: Flow, action: AbstractAction, draws: Draws, temperature: Scalar
    ) -> tuple[Scalar, Residuals]:
        monitored = -shard_batch(residuals_at, (flow, action), draws.data)
        return jnp.mean(monitored), monitored


def residuals_at(of: tuple[Flow, AbstractAction], fields: Array) -> Residuals:
    """log q + S of given configurations."""
    flow, action = of

    def one(field: Array) -> Scalar:
        log_density = flow.log_density(field)
        return log_density + action(field).astype(log_density.dtype)

    return jax.vmap(one)(fields)
