"""Multiplication of every Fourier mode by its own positive factor."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from trivmap._types import Field, Scalar
from trivmap.bijections.bijection import AbstractBijection
from trivmap.errors import InputError
from trivmap.fourier import apply_spectrum, interpolate_spectrum, orbit_sum
from trivmap.lattice import Lattice


class FourierDiagonal(AbstractBijection):
    """y_k = e^{a_k} x_k, one learnable a per momentum orbit; log det = sum_k a_k.

    Starts at the identity, or with `mass_squared` at a_k = -1/2 log(khat^2 + m^2): white noise to the free field.
    Raises `InputError` for a mass_squared that is not positive.
    """

    log_factor: Float[Array, " orbits"]
    lattice: Lattice = eqx.field(static=True)

    def __init__(self, lattice: Lattice, *, mass_squared: float | None = None, dtype: DTypeLike):
        if mass_squared is not None and not mass_squared > 0:
            raise InputError(f"fourier.mass_squared: must be positive, got {mass_squared}")
        start = np.zeros(len(lattice.orbit_sizes))
        if mass_squared is not None:
            start = -0.5 * np.log(lattice.orbit_momenta + mass_squared)
        self.lattice, self.log_factor = lattice, jnp.asarray(start, dtype)

    def forward(self, x: Field) -> tuple[Field, Scalar]:
        return apply_spectrum(self.lattice, jnp.exp(self.log_factor), x), orbit_sum(self.lattice, self.log_factor)

    def inverse(self, y: Field) -> tuple[Field, Scalar]:
        return apply_spectrum(self.lattice, jnp.exp(-self.log_factor), y), -orbit_sum(self.lattice, self.log_factor)

    def resize(self, lattice: Lattice) -> "FourierDiagonal":
        carried = interpolate_spectrum(self.lattice, lattice, self.log_factor)
        blank = FourierDiagonal(lattice, dtype=self.log_factor.dtype)
        return eqx.tree_at(lambda fourier: fourier.log_factor, blank, carried)
