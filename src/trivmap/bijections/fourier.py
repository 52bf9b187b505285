"""Multiplication of every Fourier mode by a positive factor of its own."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from trivmap._types import Field, Scalar, changed
from trivmap.actions.symmetry import EVERY
from trivmap.arguments import Positive, bounded
from trivmap.bijections.bijection import AbstractBijection
from trivmap.fourier import apply_spectrum, interpolate_spectrum, orbit_sum
from trivmap.lattice import Lattice


class FourierDiagonal(AbstractBijection):
    """y_k = e^{a_k} f_k x_k, one learnable a per momentum orbit, zero at the start; log det = sum_k (a_k + log f_k).

    Args:
        lattice: the lattice.
        mass_squared: null: f_k = 1; else f_k = (khat^2 + mass_squared)^(-1/2), from white noise to a free field
        dtype: the precision of the parameters.

    Raises `InputError` unless mass_squared is positive and finite.
    """

    log_factor: Float[Array, " orbits"]
    mass_squared: float | None = eqx.field(static=True)
    lattice: Lattice = eqx.field(static=True)

    @bounded
    def __init__(self, lattice: Lattice, *, mass_squared: Positive | None = None, dtype: DTypeLike):
        self.lattice, self.mass_squared = lattice, mass_squared
        self.log_factor = jnp.zeros(len(lattice.orbit_sizes), dtype)

    @property
    def equivariant_under(self) -> frozenset[str]:
        return EVERY

    def forward(self, x: Field) -> tuple[Field, Scalar]:
        total = self._log_factor()
        return apply_spectrum(self.lattice, jnp.exp(total), x), orbit_sum(self.lattice, total)

    def inverse(self, y: Field) -> tuple[Field, Scalar]:
        total = self._log_factor()
        return apply_spectrum(self.lattice, jnp.exp(-total), y), -orbit_sum(self.lattice, total)

    def resize(self, lattice: Lattice) -> "FourierDiagonal":
        carried = interpolate_spectrum(self.lattice, lattice, self.log_factor)
        return changed(self, lattice=lattice, log_factor=carried)

    def _log_factor(self) -> Float[Array, " orbits"]:
        """a_k + log f_k."""
        if self.mass_squared is None:
            return self.log_factor
        start = -0.5 * np.log(self.lattice.orbit_momenta + self.mass_squared)
        return self.log_factor + jnp.asarray(start, self.log_factor.dtype)
