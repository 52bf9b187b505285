"""The variance of log q + S."""

from typing import Literal

import jax.numpy as jnp

from trivmap._types import Scalar
from trivmap.actions import AbstractAction
from trivmap.devices import shard_batch
from trivmap.flows import Flow
from trivmap.objectives.objective import AbstractObjective, Draws, Residuals
from trivmap.objectives.reverse_kl import residuals_of


class Variance(AbstractObjective):
    """The variance of log q + S/T over the noise, differentiated through the samples: zero for a trivializing map.

    It has the same optimum as the KL divergence only if the map can reach the target.
    """

    @property
    def least_squares(self) -> Literal["variance"]:
        return "variance"

    def __call__(
        self, flow: Flow, action: AbstractAction, draws: Draws, temperature: Scalar
    ) -> tuple[Scalar, Residuals]:
        residuals = shard_batch(residuals_of, (flow, action, temperature), draws.noise)
        return jnp.var(residuals), residuals
