"""The residuals of a batch and their derivatives in the parameters, centered over the batch."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from trivmap._types import Scalar
from trivmap.devices import shard_batch
from trivmap.tuning import tuning

Vector = Float[Array, " parameters"]
Residual = Callable[[Vector, Array], Scalar]
"""(theta, z) -> f = log q + S at phi = T(z)."""
Pair = Callable[[Vector, Array], tuple[Scalar, Scalar]]
"""(theta, z) -> (f, p): the derivative of p in theta is that part of the derivative of f which goes through phi."""

_EXACT = jax.lax.Precision.HIGHEST


class Linearization(NamedTuple):
    """f(theta + v) - mean = f - mean + J v, J centered over the batch: its rows sum to zero."""

    residuals: Float[Array, " batch"]
    push: Callable[[Vector], Float[Array, " batch"]]
    """v -> J v."""
    pull: Callable[[Float[Array, " batch"]], Vector]
    """r -> J^T r."""
    jacobian: Float[Array, "batch parameters"] | None
    path: Callable[[Float[Array, " batch"]], Vector] | None = None
    """w -> sum_i w_i dp_i, not centered; only for a `Pair`. J is then that of f - p, the derivative of log q in theta
    at fixed phi, and J^T J / B is the Fisher matrix."""


def explicit(residual: Residual, parameters: Vector, noise: Array, micro_batch: int | None = None) -> Linearization:
    """The linearization with an explicit Jacobian, formed one micro-batch at a time."""
    derivative = jax.value_and_grad(residual)

    def derivatives(parameters: Vector, noise: Array) -> tuple[Array, Array]:
        return jax.lax.map(lambda z: derivative(parameters, z), noise, batch_size=_at_once(noise, micro_batch))

    return _formed(*shard_batch(derivatives, parameters, noise))


def explicit_pair(pair: Pair, parameters: Vector, noise: Array, micro_batch: int | None = None) -> Linearization:
    """`explicit` for a `Pair`: two Jacobians are formed."""

    def derivative(parameters: Vector, z: Array) -> tuple[Scalar, Vector, Vector]:
        (f, p), pull = jax.vjp(lambda theta: pair(theta, z), parameters)
        (path,), (score,) = pull((jnp.zeros_like(f), jnp.ones_like(p))), pull((jnp.ones_like(f), -jnp.ones_like(p)))
        return f, path, score

    def derivatives(parameters: Vector, noise: Array) -> tuple[Array, Array, Array]:
        return jax.lax.map(lambda z: derivative(parameters, z), noise, batch_size=_at_once(noise, micro_batch))

    residuals, paths, scores = shard_batch(derivatives, parameters, noise)

    def path(w: Float[Array, " batch"]) -> Vector:
        return jnp.matmul(w.astype(paths.dtype), paths, precision=_EXACT)

    return _formed(residuals, scores)._replace(path=path)


def _at_once(noise: Array, micro_batch: int | None) -> int:
    return min(len(noise), micro_batch or tuning().jacobian_batch(noise[0].size))


def _formed(residuals: Float[Array, " batch"], rows: Float[Array, "batch parameters"]) -> Linearization:
    jacobian = rows - jnp.mean(rows, axis=0, keepdims=True)

    def push(v: Vector) -> Float[Array, " batch"]:
        return jnp.matmul(jacobian, v.astype(jacobian.dtype), precision=_EXACT).astype(residuals.dtype)

    def pull(r: Float[Array, " batch"]) -> Vector:
        return jnp.matmul(r.astype(jacobian.dtype), jacobian, precision=_EXACT)

    return Linearization(residuals, push, pull, jacobian)


def matrix_free(residual: Residual, parameters: Vector, noise: Array, micro_batch: int | None = None) -> Linearization:
    """Products with a Jacobian that is never formed; the intermediate values of the whole batch are kept instead."""

    def pair(theta: Vector, z: Array) -> tuple[Scalar, Scalar]:
        f = residual(theta, z)
        return f, jnp.zeros_like(f)

    return matrix_free_pair(pair, parameters, noise)._replace(path=None)


def matrix_free_pair(pair: Pair, parameters: Vector, noise: Array, micro_batch: int | None = None) -> Linearization:
    """`matrix_free` for a `Pair`."""

    def batched(theta: Vector) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
        return shard_batch(lambda theta, noise: jax.vmap(lambda z: pair(theta, z))(noise), theta, noise)

    (residuals, _), push_raw = jax.linearize(batched, parameters)
    pull_raw = jax.linear_transpose(push_raw, parameters)

    def push(v: Vector) -> Float[Array, " batch"]:
        total, path = push_raw(v.astype(parameters.dtype))
        change = total - path
        return change - jnp.mean(change)

    def pull(r: Float[Array, " batch"]) -> Vector:
        centered = (r - jnp.mean(r)).astype(residuals.dtype)
        return pull_raw((centered, -centered))[0]

    def path(w: Float[Array, " batch"]) -> Vector:
        w = w.astype(residuals.dtype)
        return pull_raw((jnp.zeros_like(w), w))[0]

    return Linearization(residuals, push, pull, None, path)


def clip_factors(residuals: Float[Array, " batch"], clip: float) -> Float[Array, " batch"]:
    """The fraction in (0, 1] of every residual's distance from the median that `robust` keeps."""
    median, width = _bounds(residuals, clip)
    distance = jnp.abs(residuals - median)
    return jnp.where(distance > width, width / jnp.maximum(distance, jnp.finfo(distance.dtype).tiny), 1.0)


def robust(residuals: Float[Array, " batch"], clip: float) -> tuple[Float[Array, " batch"], Scalar]:
    """Residuals minus their mean, clipped at `clip` robust deviations (1.4826 MAD) from the median; the spread."""
    median, width = _bounds(residuals, clip)
    # Equal residuals, as for a perfect map, must not lead to a division by zero later.
    clipped = jnp.clip(residuals, median - width, median + width)
    clipped = clipped - jnp.mean(clipped)
    return clipped, jnp.std(clipped)


def _bounds(residuals: Float[Array, " batch"], clip: float) -> tuple[Scalar, Scalar]:
    """The median, and `clip` robust deviations from it."""
    median = jnp.median(residuals)
    return median, clip * 1.4826 * jnp.median(jnp.abs(residuals - median))


def within_radius(
    model: Linearization,
    gradient: Vector,
    parameters: Vector,
    trial: Vector,
    accepted: Bool[Array, ""],
    radius: float,
) -> tuple[Vector, Scalar]:
    """The trial, moved closer if it is too far for the quadratic model, and the decrease of KL that the model predicts.

    KL(theta) - KL(theta + delta) = a - b / 2 with a = -gradient . delta, b = |J delta|^2 / B.
    """
    step = trial - parameters
    a, b = -jnp.dot(gradient, step), jnp.mean(model.push(step) ** 2).astype(step.dtype)
    far = jnp.maximum(jnp.abs(a), b) / 2
    scale = jnp.where(accepted & (far > radius), radius / far, 1.0).astype(step.dtype)
    return jnp.where(accepted, parameters + scale * step, trial), scale * a - scale**2 * b / 2
