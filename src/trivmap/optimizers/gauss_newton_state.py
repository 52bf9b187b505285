"""What Gauss-Newton remembers between steps, and what it finds in one."""

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int

from trivmap._types import Scalar
from trivmap.optimizers.least_squares import Memory
from trivmap.optimizers.linearization import Vector


class GaussNewtonState(eqx.Module):
    """Where the search stands: the last accepted point, what was learned about it, and how far to trust it."""

    anchor: Vector
    """The last accepted parameters; those being tried lie one step further."""
    spread: Scalar
    """Robust standard deviation of the residual at the anchor; infinite before the first step."""
    predicted: Scalar
    """That which the linear model expects at the parameters being tried."""
    level: Scalar
    """Mean of the clipped residual at the anchor: the KL up to log Z; infinite before the first step."""
    hoped: Scalar
    """What the model expects to gain of it at the parameters being tried; zero after a step on the variance."""
    damping: Scalar
    refused: Int[Array, ""]
    """Steps refused in a row."""
    memory: Memory
    """What earlier batches said (parameter space; else empty)."""
    step: Float[Array, " step"]
    """The step before (sample space; else empty)."""


class Info(eqx.Module):
    """What a step found: the residuals at the parameters tried, |J^T f / B|, and whether they were accepted."""

    residuals: Float[Array, " batch"]
    gradient_norm: Scalar
    accepted: Bool[Array, ""]
