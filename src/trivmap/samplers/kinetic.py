"""Kinetic energies of Hamiltonian samplers."""

import abc
import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike

from trivmap._types import Field, Key, Scalar, site_sum
from trivmap.errors import InputError
from trivmap.fourier import apply_spectrum
from trivmap.lattice import Lattice
from trivmap.spaces import AbstractSpace


class AbstractKinetic(eqx.Module):
    """K(p) = p M^-1 p / 2 of ONE momentum field, with a constant symmetric mass matrix M.

    Momenta are tangents of the space of the fields, see `AbstractSpace.momentum`.
    """

    lattice: eqx.AbstractVar[Lattice]
    dtype: eqx.AbstractVar[str]

    def momentum(self, key: Key, space: AbstractSpace) -> Field:
        """A draw from exp(-K), for a field of a space."""
        return space.momentum(key, self.lattice, self.dtype)

    @abc.abstractmethod
    def velocity(self, momentum: Field) -> Field:
        """M^-1 p."""

    def energy(self, momentum: Field) -> Scalar:
        """K(p)."""
        return 0.5 * site_sum(momentum * self.velocity(momentum))


class UnitMass(AbstractKinetic):
    """M = 1."""

    lattice: Lattice = eqx.field(static=True)
    dtype: str = eqx.field(static=True)

    def __init__(self, lattice: Lattice, dtype: DTypeLike):
        self.lattice, self.dtype = lattice, jnp.dtype(dtype).name

    def velocity(self, momentum: Field) -> Field:
        return momentum


class FourierMass(AbstractKinetic):
    """M(k) = (khat^2 + m^2) / (2d + m^2): Fourier acceleration (Phys. Rev. D 32, 2736 (1985); hep-lat/9405001).

    All modes of a free field of mass m then oscillate at one frequency. The mean of M over the momenta is 1, so that
    <p^2> per site is that of unit mass, and M = 1 is the limit of large m. It costs two more FFTs per stage.

    Raises `InputError` unless m_sq is positive and finite.
    """

    m_sq: float = eqx.field(static=True)
    lattice: Lattice = eqx.field(static=True)
    dtype: str = eqx.field(static=True)

    def __init__(self, lattice: Lattice, *, m_sq: float, dtype: DTypeLike):
        if not 0 < m_sq < math.inf:
            raise InputError(f"sampling.fourier_mass: must be positive and finite, got {m_sq:g}")
        self.lattice, self.m_sq, self.dtype = lattice, float(m_sq), jnp.dtype(dtype).name

    @property
    def masses(self) -> np.ndarray:
        """M per momentum orbit, shape (orbits,)."""
        squares = self.lattice.orbit_momenta
        mean = np.average(squares, weights=self.lattice.orbit_sizes)
        return (squares + self.m_sq) / (mean + self.m_sq)

    def momentum(self, key: Key, space: AbstractSpace) -> Field:
        return self._apply(np.sqrt(self.masses), super().momentum(key, space))

    def velocity(self, momentum: Field) -> Field:
        return self._apply(1 / self.masses, momentum)

    def _apply(self, spectrum: np.ndarray, field: Field) -> Field:
        along = functools.partial(apply_spectrum, self.lattice, jnp.asarray(spectrum, self.dtype))
        # Each component separately.
        return along(field) if field.ndim == self.lattice.dimension else jax.vmap(along)(field)
