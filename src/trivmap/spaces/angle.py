"""Fields of angles."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike

from trivmap._types import Component, Field, Key, Scalar, draw_uniform
from trivmap.lattice import Lattice
from trivmap.spaces.space import AbstractSpace

_TURN = 2 * math.pi


@dataclass(frozen=True)
class Angle(AbstractSpace):
    """An angle theta in [-pi, pi] at every site, of shape `lattice.shape`; theta and theta + 2 pi are the same point.

    The vector at a site is s = (cos theta, sin theta). The measure is the product of all d theta: S = 0 has
    Z = (2 pi)^V.
    """

    def shape(self, lattice: Lattice) -> tuple[int, ...]:
        return lattice.shape

    def __str__(self) -> str:
        return "angles"

    @property
    def linear(self) -> bool:
        return False

    @property
    def unit_vectors(self) -> bool:
        return True

    def components(self, field: Field) -> tuple[Component, ...]:
        return jnp.cos(field), jnp.sin(field)

    def disordered(self, key: Key, lattice: Lattice, dtype: DTypeLike) -> Field:
        return math.pi * (2 * draw_uniform(key, self.shape(lattice), dtype) - 1)

    def ordered(self, energy: Callable[[Field], Scalar], sign: int, lattice: Lattice, dtype: DTypeLike) -> Field:
        """All angles 0, or all pi for sign -1."""
        return jnp.full(lattice.shape, math.pi if sign < 0 else 0.0, dtype)

    def move(self, field: Field, tangent: Field) -> Field:
        return _wrapped(field + tangent)

    def representative(self, key: Key, field: Field) -> Field:
        """The field with random angles shifted by 2 pi."""
        return field + _TURN * jax.random.bernoulli(key, shape=field.shape).astype(field.dtype)

    def displacement(self, start: Field, end: Field) -> Field:
        return _wrapped(end - start)


def _wrapped(angle: Field) -> Field:
    return angle - _TURN * jnp.round(angle / _TURN)
