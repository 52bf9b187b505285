"""The contract of an objective."""

import abc
from typing import Literal

import equinox as eqx
import jax
from jaxtyping import Array, Float

from trivmap._types import Scalar
from trivmap.actions import AbstractAction
from trivmap.flows import Flow

Noise = Float[Array, "batch *lattice"]
Residuals = Float[Array, " batch"]
Kind = Literal["noise", "data"]


class Draws(eqx.Module):
    """The configurations from which a training step estimates its objective.

    Attributes:
        noise: noise of the base, as many as the batch; None if the objective draws none.
        data: configurations of the target exp(-S), as many; None if the objective draws none.
    """

    noise: Noise | None = None
    data: Float[Array, "batch *lattice"] | None = None


def with_value(surrogate: Scalar, value: Scalar) -> Scalar:
    """A scalar with the gradient of one and the value of another."""
    return surrogate + jax.lax.stop_gradient(value.astype(surrogate.dtype) - surrogate)


class AbstractObjective(eqx.Module):
    """The quantity that training minimizes at temperature T, where the target is exp(-S/T).

    To add one: say what it `draws`, return a scalar whose gradient with respect to the flow is the wanted estimator,
    and beside it what training monitors: of the noise the residuals r = log q + S/T, from which loss and ESS follow; of
    data alone their negatives. What it computes of each configuration by itself goes through `devices.shard_batch`.
    """

    @property
    def draws(self) -> frozenset[Kind]:
        """The draws it needs: "noise" of the base, "data", which are configurations of the target, or both."""
        return frozenset({"noise"})

    @property
    def least_squares(self) -> Literal["variance", "kl"] | None:
        """The quantity that a least-squares optimizer minimizes for this objective; None if it has no such form."""
        return None

    @abc.abstractmethod
    def __call__(
        self, flow: Flow, action: AbstractAction, draws: Draws, temperature: Scalar
    ) -> tuple[Scalar, Residuals]:
        """(surrogate, monitored); the value of the surrogate is what line searches compare."""
