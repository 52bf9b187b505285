"""Multiplication by a positive constant."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import DTypeLike

from trivmap._types import Field, Scalar, changed, site_sum
from trivmap.actions.symmetry import EVERY
from trivmap.bijections.bijection import AbstractBijection
from trivmap.lattice import Lattice


class Rescale(AbstractBijection):
    """y = e^a x with one learnable a, zero at the start; log det = V a."""

    log_scale: Scalar
    lattice: Lattice = eqx.field(static=True)

    def __init__(self, lattice: Lattice, *, dtype: DTypeLike):
        self.lattice, self.log_scale = lattice, jnp.zeros((), dtype)

    @property
    def equivariant_under(self) -> frozenset[str]:
        return EVERY

    def forward(self, x: Field) -> tuple[Field, Scalar]:
        return x * jnp.exp(self.log_scale), site_sum(self.log_scale) * self.lattice.volume

    def inverse(self, y: Field) -> tuple[Field, Scalar]:
        return y * jnp.exp(-self.log_scale), -site_sum(self.log_scale) * self.lattice.volume

    def resize(self, lattice: Lattice) -> "Rescale":
        return changed(self, lattice=lattice)
