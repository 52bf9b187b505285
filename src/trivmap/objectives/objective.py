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
        noise: noise of the base for the whole batch; None if the objective draws none.
        data: configurations of the target exp(-S), the same number; None if the objective draws none.
    """

    noise: Noise | None = None
    data: Float[Array, "batch *lattice"] | None = None


def with_value(surrogate: Scalar, value: Scalar) -> Scalar:
    """A scalar with the gradient of one and the value of another."""
    return surrogate + jax.lax.stop_gradient(value.astype(surrogate.dtype) - surrogate)


class AbstractObjective(eqx.Module):
    """The quantity that training minimizes at temperature T, where the target is exp(-S/T).

    To add one: declare what it `draws`. Return a scalar whose gradient with respect to the flow is the wanted
    estimator, and the values that training monitors: for noise, the residuals r = log q + S/T, which give loss and ESS;
    for data alone, their negatives. Computations for each configuration separately go through `devices.shard_batch`.
    """

    @property
    def draws(self) -> frozenset[Kind]:
        """The draws that it needs: "noise" of the base, "data" (configurations of the target), or both."""
        return frozenset({"noise"})

    @property
    def least_squares(self) -> Literal["variance", "kl"] | None:
        """The quantity that a least-squares optimizer minimizes for this objective; None if there is no such form."""
        return None

    @abc.abstractmethod
    def __call__(
        self, flow: Flow, action: AbstractAction, draws: Draws, temperature: Scalar
    ) -> tuple[Scalar, Residuals]:
        """(surrogate, monitored); line searches compare the value of the surrogate."""
