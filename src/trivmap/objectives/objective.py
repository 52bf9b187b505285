"""The contract of an objective."""

import abc
from typing import Literal

import equinox as eqx
from jaxtyping import Array, Float

from trivmap._types import Scalar
from trivmap.actions import AbstractAction
from trivmap.flows import Flow

Noise = Float[Array, "batch *lattice"]
Residuals = Float[Array, " batch"]


class AbstractObjective(eqx.Module):
    """What training minimizes at temperature T, where the target is exp(-S/T).

    To add one: return a scalar whose gradient with respect to the flow is the wanted estimator, and beside it the
    residuals r = log q + S/T of the batch, from which loss, acceptance and ESS are monitored. What it computes of each
    configuration by itself goes through `devices.spread`.
    """

    @property
    def least_squares(self) -> Literal["variance", "kl"] | None:
        """What a least-squares optimizer minimizes for this objective; None if it has no such form."""
        return None

    @abc.abstractmethod
    def __call__(
        self, flow: Flow, action: AbstractAction, noise: Noise, temperature: Scalar
    ) -> tuple[Scalar, Residuals]:
        """(surrogate, residuals)."""
