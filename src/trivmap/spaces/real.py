"""Fields of real numbers."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike

from trivmap._types import Component, Field, Key, Scalar, draw_normal
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.spaces.space import AbstractSpace


@dataclass(frozen=True)
class Real(AbstractSpace):
    """n real numbers at every site, of shape (n, *lattice.shape), or `lattice.shape` for n = 1.

    The measure is the product of all d phi.

    Args:
        n: the number of components.

    Raises:
        InputError: unless n is a whole number of at least 1.
    """

    n: int = 1

    def __post_init__(self):
        if isinstance(self.n, bool) or not isinstance(self.n, int) or self.n < 1:
            raise InputError(f"n: a real field needs a whole number of components, at least 1, got {self.n!r}")

    def __str__(self) -> str:
        return "one real number per site" if self.n == 1 else f"{self.n} real numbers per site"

    def shape(self, lattice: Lattice) -> tuple[int, ...]:
        return lattice.shape if self.n == 1 else (self.n, *lattice.shape)

    @property
    def linear(self) -> bool:
        return True

    def components(self, field: Field) -> tuple[Component, ...]:
        return (field,) if self.n == 1 else tuple(field)

    def disordered(self, key: Key, lattice: Lattice, dtype: DTypeLike) -> Field:
        return draw_normal(key, self.shape(lattice), dtype)

    def ordered(self, energy: Callable[[Field], Scalar], sign: int, lattice: Lattice, dtype: DTypeLike) -> Field:
        """The constant field of lowest energy, along the first component.

        If the minimum is at 0, it is the field whose energy is 1/2 per site above the minimum.
        """
        ones = self._first(jnp.ones(lattice.shape, dtype))
        if not sign:
            return jnp.zeros_like(ones)
        sizes = jnp.linspace(0, 10, 401, dtype=dtype)
        density = jax.vmap(lambda size: energy(size * ones))(sizes) / lattice.volume
        density = jnp.where(jnp.isfinite(density), density, jnp.inf)
        lowest, above = jnp.argmin(density), jnp.argmax(density > density[0] + 0.5)
        return sign * sizes[jnp.where(lowest > 0, lowest, above)] * ones

    def move(self, field: Field, tangent: Field) -> Field:
        return field + tangent

    def displacement(self, start: Field, end: Field) -> Field:
        return end - start

    def _first(self, component: Component) -> Field:
        return component if self.n == 1 else jnp.stack([component, *[jnp.zeros_like(component)] * (self.n - 1)])
