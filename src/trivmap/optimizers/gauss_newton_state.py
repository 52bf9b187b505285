"""The state of Gauss-Newton between steps, and the findings of one step."""

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int

from trivmap._types import Scalar
from trivmap.optimizers.least_squares import Memory
from trivmap.optimizers.linearization import Vector


class GaussNewtonState(eqx.Module):
    """Where the search stands: the last accepted point, what was learned about it, and how far to trust it."""

    last_accepted: Vector
    """The last accepted parameters; those being tried lie one step further."""
    spread: Scalar
    """Robust standard deviation of the residual there; infinite before the first step."""
    predicted: Scalar
    """The spread that the linear model expects at the parameters being tried."""
    mean_residual: Scalar
    """Mean of the clipped residual there: the KL up to log Z; infinite before the first step."""
    predicted_gain: Scalar
    """The fall of that mean that the model expects at the parameters tried; zero after a step on the variance."""
    damping: Scalar
    refused: Int[Array, ""]
    """Steps refused in a row."""
    memory: Memory
    """The linear models of earlier batches (parameter space; else empty)."""
    step: Float[Array, " step"]
    """The step before (sample space; else empty)."""


class Info(eqx.Module):
    """The findings of a step: the residuals at the parameters tried, |J^T f / B|, and whether they were accepted."""

    residuals: Float[Array, " batch"]
    gradient_norm: Scalar
    accepted: Bool[Array, ""]
