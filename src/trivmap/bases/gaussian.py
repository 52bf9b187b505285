"""Independent normal sites."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike

from trivmap._types import Field, Scalar, changed, site_sum
from trivmap.actions import AbstractAction
from trivmap.actions.symmetry import EVERY
from trivmap.bases.base import AbstractBase
from trivmap.lattice import Lattice


class Gaussian(AbstractBase):
    """Independent normal sites: q(x) = prod_x N(0, e^{2a}).

    Args:
        lattice: the lattice.
        learnable: whether their common width is trained; it starts at 1
        dtype: the precision of noise and parameters.
    """

    log_width: Scalar | None
    lattice: Lattice = eqx.field(static=True)
    dtype: str = eqx.field(static=True)

    def __init__(self, lattice: Lattice, *, learnable: bool = True, dtype: DTypeLike):
        self.lattice, self.dtype = lattice, jnp.dtype(dtype).name
        self.log_width = jnp.zeros((), dtype) if learnable else None

    @property
    def equivariant_under(self) -> frozenset[str]:
        return EVERY

    def push(self, z: Field) -> tuple[Field, Scalar, Field]:
        width = jnp.exp(self._log_width())
        return z * width, self._log_density(z), jax.lax.stop_gradient(-z / width)

    def log_density(self, x: Field) -> Scalar:
        return self._log_density(x * jnp.exp(-self._log_width()))

    def astype(self, dtype: DTypeLike) -> "Gaussian":
        cast = None if self.log_width is None else self.log_width.astype(dtype)
        return changed(self, log_width=cast, dtype=jnp.dtype(dtype).name)

    def resize(self, lattice: Lattice, action: AbstractAction | None = None) -> "Gaussian":
        return changed(self, lattice=lattice)

    def _log_width(self) -> Scalar:
        return jnp.zeros((), self.dtype) if self.log_width is None else self.log_width

    def _log_density(self, z: Field) -> Scalar:
        constant = site_sum(self._log_width()) + 0.5 * math.log(2 * math.pi)
        return -0.5 * site_sum(z * z) - constant * self.lattice.volume
