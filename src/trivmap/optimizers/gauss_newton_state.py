"""The state of Gauss-Newton between steps, and the findings of one step."""

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int

from trivmap._types import Scalar
from trivmap.optimizers.least_squares import Memory
from trivmap.optimizers.linearization import Vector


class GaussNewtonState(eqx.Module):
    """The state of the search: the last accepted point, the linear model there, and how far to trust it."""

    last_accepted: Vector
    """The last accepted parameters; those being tried lie one step further."""
    spread: Scalar
    """Robust standard deviation of the residual there; infinite before the first step."""
    predicted: Scalar
    """The spread that the linear model predicts at the parameters being tried."""
    mean_residual: Scalar
    """Mean of the clipped residual there: the KL up to log Z; infinite before the first step."""
    predicted_gain: Scalar
    """The decrease of that mean that the model predicts at the parameters being tried; zero after a variance step."""
    damping: Scalar
    refused: Int[Array, ""]
    """Number of successive refused steps."""
    memory: Memory
    """The linear models of earlier batches (parameter space; otherwise empty)."""
    step: Float[Array, " step"]
    """The step before (sample space; otherwise empty)."""


class Info(eqx.Module):
    """The findings of a step: the residuals at the parameters tried, |J^T f / B|, and whether they were accepted."""

    residuals: Float[Array, " batch"]
    gradient_norm: Scalar
    accepted: Bool[Array, ""]
