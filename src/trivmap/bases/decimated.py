"""The free field on the even sites of the checkerboard, its odd sites integrated out."""

import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from trivmap.actions import AbstractAction
from trivmap.actions.symmetry import EVERY
from trivmap.bases.free_field import AbstractFreeField, FreeField
from trivmap.lattice import Lattice
from trivmap.support import Support


class DecimatedFreeField(AbstractFreeField):
    """The marginal of a `FreeField` of variances v_k on the even sites; fields are zero at the odd ones.

    Noise is drawn at all sites; its values at the odd sites do not matter.

    Its covariance is that of the whole field between even sites. The eigenvalues (v_k + v_{k + pi}) / 2 belong to k and
    to k + pi = (k_1 + pi, ..., k_d + pi), which are one mode of the even sites. The learnable parameters are the
    factors of the whole field.

    Raises `InputError` for an odd extent.
    """

    full: FreeField
    lattice: Lattice = eqx.field(static=True)
    dtype: str = eqx.field(static=True)

    def __init__(self, full: FreeField):
        full.lattice.require_checkerboard()
        self.full, self.lattice, self.dtype = full, full.lattice, full.dtype

    @property
    def support(self) -> Support:
        return Support.EVEN

    @property
    def equivariant_under(self) -> frozenset[str]:
        return EVERY - {"translations"}

    def astype(self, dtype: DTypeLike) -> "DecimatedFreeField":
        return DecimatedFreeField(self.full.astype(dtype))

    def resize(self, lattice: Lattice, action: AbstractAction | None = None) -> "DecimatedFreeField":
        """As `FreeField.resize` for the whole field."""
        return DecimatedFreeField(self.full.resize(lattice, action and action.full))

    def log_width(self) -> Float[Array, " orbits"]:
        """1/2 log((v_k + v_{k + pi}) / 2)."""
        twice = 2 * self.full.log_width()
        return 0.5 * (jnp.logaddexp(twice, twice[self.lattice.shifted_orbits]) - math.log(2))
