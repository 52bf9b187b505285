"""The residuals of a batch and their derivatives in the parameters, centred over the batch."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from trivmap._types import Scalar

Vector = Float[Array, " parameters"]
Residual = Callable[[Vector, Array], Scalar]

# Sites of one micro-batch: measured on CPU, larger ones fall out of the caches, smaller ones cost more calls.
_SITES = 2**16


class Linearisation(NamedTuple):
    """f(theta + v) - mean = f - mean + J v, J centred over the batch: its rows sum to zero."""

    residuals: Float[Array, " batch"]
    push: Callable[[Vector], Float[Array, " batch"]]
    """v -> J v."""
    pull: Callable[[Float[Array, " batch"]], Vector]
    """r -> J^T r."""
    jacobian: Float[Array, "batch parameters"] | None


def explicit(residual: Residual, parameters: Vector, noise: Array, micro_batch: int | None = None) -> Linearisation:
    """With the Jacobian formed, a micro-batch at a time."""
    size = min(len(noise), micro_batch or max(16, _SITES // max(1, noise[0].size)))
    derivative = jax.value_and_grad(residual)
    residuals, rows = jax.lax.map(lambda z: derivative(parameters, z), noise, batch_size=size)
    jacobian = rows - jnp.mean(rows, axis=0, keepdims=True)
    exact = jax.lax.Precision.HIGHEST

    def push(v: Vector) -> Float[Array, " batch"]:
        return jnp.matmul(jacobian, v.astype(jacobian.dtype), precision=exact).astype(residuals.dtype)

    def pull(r: Float[Array, " batch"]) -> Vector:
        return jnp.matmul(r.astype(jacobian.dtype), jacobian, precision=exact)

    return Linearisation(residuals, push, pull, jacobian)


def matrix_free(residual: Residual, parameters: Vector, noise: Array, micro_batch: int | None = None) -> Linearisation:
    """Products with a Jacobian that is never formed; the whole batch's intermediate values are kept instead."""

    def batched(theta: Vector) -> Float[Array, " batch"]:
        return jax.vmap(lambda z: residual(theta, z))(noise)

    residuals, push_raw = jax.linearize(batched, parameters)
    pull_raw = jax.linear_transpose(push_raw, parameters)

    def push(v: Vector) -> Float[Array, " batch"]:
        change = push_raw(v.astype(parameters.dtype))
        return change - jnp.mean(change)

    def pull(r: Float[Array, " batch"]) -> Vector:
        return pull_raw((r - jnp.mean(r)).astype(residuals.dtype))[0]

    return Linearisation(residuals, push, pull, None)


def robust(residuals: Float[Array, " batch"], clip: float) -> tuple[Float[Array, " batch"], Scalar]:
    """Residuals about their mean, clipped at `clip` robust deviations (1.4826 MAD) from the median; their spread."""
    median = jnp.median(residuals)
    width = clip * 1.4826 * jnp.median(jnp.abs(residuals - median))
    # All residuals equal, as for a perfect map, is no reason to divide by zero later.
    clipped = jnp.clip(residuals, median - width, median + width)
    clipped = clipped - jnp.mean(clipped)
    return clipped, jnp.std(clipped)
