"""Explicit Runge-Kutta methods of low storage, as one loop over stages.

A stage is du <- A du + h f(u, t), u <- u + B du: the velocity appears once in the compiled program, for any order.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from trivmap._types import Scalar


class Scheme(NamedTuple):
    """Coefficients of the stages; the order of the error in the step."""

    a: tuple[float, ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    order: int

    @property
    def stages(self) -> int:
        return len(self.a)


SCHEMES = {
    # Williamson, J. Comput. Phys. 35 (1980) 48.
    "rk3": Scheme((0.0, -5 / 9, -153 / 128), (1 / 3, 15 / 16, 8 / 15), (0.0, 1 / 3, 3 / 4), 3),
    # Carpenter and Kennedy, NASA TM-109112 (1994): five stages, with far smaller errors than the classical four.
    "rk4": Scheme(
        (
            0.0,
            -567301805773 / 1357537059087,
            -2404267990393 / 2016746695238,
            -3550918686646 / 2091501179385,
            -1275806237668 / 842570457699,
        ),
        (
            1432997174477 / 9575080441755,
            5161836677717 / 13612068292357,
            1720146321549 / 2090206949498,
            3134564353537 / 4481467310338,
            2277821191437 / 14882151754819,
        ),
        (
            0.0,
            1432997174477 / 9575080441755,
            2526269341429 / 6820363962896,
            2006345519317 / 3224310063776,
            2802321613138 / 2924317926251,
        ),
        4,
    ),
}

Velocity = Callable[[Any, Scalar], Any]


def integrate(
    velocity: Velocity,
    state: Any,
    *,
    steps: int | Int[Array, ""],
    scheme: str,
    offset: Scalar | None = None,
    span: tuple[float, float] = (0.0, 1.0),
) -> Any:
    """u at the end of the time `span`, which may run backward, from u = `state` at its start; du/dt = velocity(u, t).

    There are `steps` equal steps. With an `offset` u in [0, 1) there are `steps` + 1 steps instead, between the nodes
    (i - u) / steps of the span, cut at its ends. Reverse-mode derivatives keep two copies of the state per stage and
    recompute the velocity; they do not exist if `steps` is only known at run time.
    """
    method = SCHEMES[scheme]
    a, b, c = (np.array(coefficient) for coefficient in (method.a, method.b, method.c))
    count = (steps if offset is None else steps + 1) * method.stages
    real = jax.dtypes.canonicalize_dtype(jnp.float64)

    def node(index: Int[Array, ""]) -> Scalar:
        shift = jnp.zeros((), real) if offset is None else offset.astype(real)
        return jnp.clip((index.astype(real) - shift) / jnp.asarray(steps, real), 0.0, 1.0)

    @jax.checkpoint
    def stage(carry: tuple[Any, Any], index: Int[Array, ""]) -> tuple[tuple[Any, Any], None]:
        u, du = carry
        step, part = index // method.stages, index % method.stages
        begin, end = node(step), node(step + 1)
        time = span[0] + (span[1] - span[0]) * (begin + (end - begin) * jnp.asarray(c, real)[part])
        h = (span[1] - span[0]) * (end - begin)

        def moved(du: jax.Array, f: jax.Array) -> jax.Array:
            return jnp.asarray(a, du.dtype)[part] * du + h.astype(du.dtype) * f

        du = jax.tree.map(moved, du, velocity(u, time))
        u = jax.tree.map(lambda u, du: u + jnp.asarray(b, u.dtype)[part] * du, u, du)
        return (u, du), None

    start = (state, jax.tree.map(jnp.zeros_like, state))
    if not isinstance(count, int):
        return jax.lax.fori_loop(0, count, lambda index, carry: stage(carry, index)[0], start)[0]
    return jax.lax.scan(stage, start, jnp.arange(count, dtype=jnp.int32))[0][0]
