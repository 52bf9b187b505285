"""The two damped least-squares problems of a Gauss-Newton step: in parameter space and in sample space."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from trivmap._types import Scalar
from trivmap.optimizers.linearization import Linearization, Vector

_EXACT = jax.lax.Precision.HIGHEST


class Memory(eqx.Module):
    """Sums over batches b, each with weight w_b = 1 / variance, and with a decay factor per step."""

    normal: Float[Array, "p p"]
    """sum_b w_b J_b^T J_b / B."""
    target: Float[Array, " p"]
    """sum_b w_b J_b^T (J_b theta_b - f_b) / B."""
    weight: Scalar
    """sum_b w_b."""

    @classmethod
    def empty(cls, size: int) -> "Memory":
        wide = jax.dtypes.canonicalize_dtype(jnp.float64)
        return cls(jnp.zeros((size, size), wide), jnp.zeros(size, wide), jnp.zeros((), wide))


def recursive(
    memory: Memory,
    model: Linearization,
    gradient: Vector,
    last_accepted: Vector,
    parameters: Vector,
    accepted: Bool[Array, ""],
    spread: Scalar,
    damping: Scalar,
    ridge: Vector,
    decay: float,
) -> tuple[Memory, Vector]:
    """The memory with the batch at `parameters` added if it was accepted, and the parameters to try next.

    They minimize sum_b w_b |f_b + J_b (theta - theta_b)|^2 / (B sum_b w_b) + damping (theta - theta_0)^T D
    (theta - theta_0) + ridge . theta^2, theta_0 = `last_accepted`, D the diagonal of the mean of J^T J / B with the
    same weights.
    """
    assert model.jacobian is not None
    wide, jacobian = memory.normal.dtype, model.jacobian
    product = jnp.matmul(jacobian.T, jacobian, precision=_EXACT).astype(wide) / len(jacobian)
    # A refused batch may have NaN, which a weight of zero does not remove.
    product, gradient, at = (jnp.where(accepted, value.astype(wide), 0.0) for value in (product, gradient, parameters))
    weight = jnp.where(accepted, 1 / jnp.maximum(spread, 1e-9) ** 2, 0.0)
    kept = jnp.where(accepted, decay, 1.0)
    memory = Memory(
        kept * memory.normal + weight * product,
        kept * memory.target + weight * (jnp.matmul(product, at, precision=_EXACT) - gradient),
        kept * memory.weight + weight,
    )
    total = jnp.maximum(memory.weight, jnp.finfo(wide).tiny)
    matrix, diagonal = memory.normal / total, jnp.diag(memory.normal) / total
    pull = damping * (diagonal + 1e-6 * jnp.max(diagonal) + jnp.finfo(wide).tiny)
    center = last_accepted.astype(wide)
    right = memory.target / total + pull * center
    solved = jax.scipy.linalg.solve(matrix + jnp.diag(pull + ridge.astype(wide)), right, assume_a="pos")
    # Before any batch is accepted there is no direction, and the ridge would pull the parameters to zero.
    return memory, jnp.where(memory.weight > 0, solved, center).astype(parameters.dtype)


def projected(
    model: Linearization,
    residuals: Float[Array, " batch"],
    before: Vector,
    parameters: Vector,
    damping: Scalar,
    ridge: Vector,
    iterations: int | None,
) -> Vector:
    """The step delta = before + s, solved for one unknown per sample (arXiv:2302.01941, 2401.10190).

    s minimizes |f + J (before + s)|^2 / B + s^T damping D s + ridge . (theta + before + s)^2: M = damping D + ridge,
    s = s0 - M^-1 J^T (J M^-1 J^T + B)^-1 (f + J (before + s0)), s0 = -M^-1 ridge (theta + before). D is the diagonal
    of J^T J / B, or without a Jacobian (`iterations` of conjugate gradients) its mean, estimated with random signs.
    """
    metric = _metric(model, damping, ridge, before)
    start = before - ridge / metric * (parameters + before)
    solved = _solved(model, metric, residuals + model.push(start), iterations)
    return start - model.pull(solved) / metric


def projected_gradient(
    model: Linearization,
    gradient: Vector,
    before: Vector,
    parameters: Vector,
    damping: Scalar,
    ridge: Vector,
    iterations: int | None,
) -> Vector:
    """The step delta = before + s that `projected` would take if `gradient` were J^T f / B.

    s minimizes gradient . delta + |J delta|^2 / 2B + s^T damping D s / 2 + ridge . (theta + delta)^2 / 2:
    s = (1 - M^-1 J^T (J M^-1 J^T + B)^-1 J) M^-1 b, b = -gradient - J^T J before / B - ridge (theta + before).
    A gradient need not lie in the span of the rows of J; its part outside the span is only divided by M.
    """
    metric = _metric(model, damping, ridge, before)
    curved = model.pull(model.push(before)) / len(model.residuals)
    start = -(gradient + curved + ridge * (parameters + before)) / metric
    solved = _solved(model, metric, model.push(start), iterations)
    return before + start - model.pull(solved) / metric


def _metric(model: Linearization, damping: Scalar, ridge: Vector, like: Vector) -> Vector:
    """M = damping D + ridge."""
    batch, wide = len(model.residuals), model.residuals.dtype
    if model.jacobian is not None:
        diagonal = jnp.mean(model.jacobian**2, axis=0)
    else:
        signs = jax.random.rademacher(jax.random.key(0), (batch,), wide)
        diagonal = jnp.mean(model.pull(signs) ** 2) / batch * jnp.ones_like(like)
    tiny = jnp.finfo(diagonal.dtype).tiny
    return damping.astype(like.dtype) * (diagonal + 1e-6 * jnp.max(diagonal) + tiny) + ridge


def _solved(
    model: Linearization, metric: Vector, right: Float[Array, " batch"], iterations: int | None
) -> Float[Array, " batch"]:
    """(J M^-1 J^T + B)^-1 right."""
    batch, wide = len(right), right.dtype
    if model.jacobian is not None:
        scaled = model.jacobian / jnp.sqrt(metric)[None]
        kernel = jnp.matmul(scaled, scaled.T, precision=_EXACT).astype(wide) + batch * jnp.eye(batch, dtype=wide)
        return jax.scipy.linalg.solve(kernel, right, assume_a="pos")

    def kernel_product(a: Float[Array, " batch"]) -> Float[Array, " batch"]:
        return model.push(model.pull(a) / metric) + batch * a

    return jax.scipy.sparse.linalg.cg(kernel_product, right, maxiter=iterations, tol=1e-4)[0]
