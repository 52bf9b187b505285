"""The modes of a field, and the translation- and point-group-invariant linear operators that are diagonal in them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from trivmap._types import Field, Scalar, site_sum
from trivmap.lattice import Lattice
from trivmap.tuning import tuning

Method = Literal["matrix", "fft"]


@dataclass(frozen=True)
class Modes:
    """A linear transform to Fourier modes, in which an operator given per momentum orbit is a multiplication.

    `method` is one product with an orthogonal V x V matrix of cosines and sines (`matrix`), or an FFT that keeps half
    of the modes (`fft`); by default the faster one for the lattice's size. Both act on the last d axes, and give the
    same operators to rounding.
    """

    lattice: Lattice
    method: Method

    def __init__(self, lattice: Lattice, method: Method | None = None):
        object.__setattr__(self, "lattice", lattice)
        chosen = method or ("matrix" if lattice.volume <= tuning().matrix_sites else "fft")
        object.__setattr__(self, "method", chosen)

    def forward(self, field: Float[Array, "..."]) -> Inexact[Array, "..."]:
        """The modes of fields (..., *lattice): (..., V) for `matrix`, complex (..., *half of the momenta) for `fft`."""
        if self.method == "matrix":
            flat = field.reshape(*field.shape[: -self.lattice.dimension], self.lattice.volume)
            return self._product(flat, self._matrix.T)
        return jnp.fft.rfftn(field, axes=self._axes)

    def inverse(self, modes: Inexact[Array, "..."]) -> Float[Array, "..."]:
        """The fields (..., *lattice) with these modes."""
        if self.method == "matrix":
            return self._product(modes, self._matrix).reshape(*modes.shape[:-1], *self.lattice.shape)
        return jnp.fft.irfftn(modes, s=self.lattice.shape, axes=self._axes)

    def scale(self, modes: Inexact[Array, "..."], eigenvalues: Float[Array, "..."]) -> Inexact[Array, "..."]:
        """The modes times real eigenvalues in the form of `expand`."""
        if self.method == "matrix":
            return modes * eigenvalues
        return jax.lax.complex(modes.real * eigenvalues, modes.imag * eigenvalues)

    def expand(self, spectra: np.ndarray) -> np.ndarray:
        """Eigenvalues per momentum orbit, shape (..., orbits), as factors in the order of the modes."""
        return spectra[..., self.labels]

    @cached_property
    def labels(self) -> np.ndarray:
        """The momentum orbit of every mode."""
        orbits = self.lattice.orbits
        if self.method == "fft":
            return orbits[..., : self.lattice.shape[-1] // 2 + 1]
        return orbits[np.ix_(*(_real_modes(extent)[1] for extent in self.lattice.shape))].ravel()

    @property
    def _axes(self) -> Sequence[int]:
        return tuple(range(-self.lattice.dimension, 0))

    @cached_property
    def _matrix(self) -> np.ndarray:
        matrix = np.ones((1, 1))
        for extent in self.lattice.shape:
            matrix = np.kron(matrix, _real_modes(extent)[0])
        return matrix

    def _product(self, vectors: Array, matrix: np.ndarray) -> Array:
        # The log-determinant belongs to the exact eigenvalues: the low default precision of float32 products on
        # accelerators would shift log Z by hundredths.
        return jnp.matmul(vectors, jnp.asarray(matrix, vectors.dtype), precision=jax.lax.Precision.HIGHEST)


def apply_spectrum(lattice: Lattice, spectrum: Float[Array, " orbits"], field: Field) -> Field:
    """Multiply every Fourier mode of `field` by the eigenvalue of its momentum orbit.

    y(x) = V^-1 sum_k exp(ikx) lambda_k sum_x' exp(-ikx') phi(x'), with lambda_k = spectrum[lattice.orbits[k]]: a real
    symmetric operator because an orbit holds k and -k.
    """
    modes = Modes(lattice)
    return modes.inverse(modes.scale(modes.forward(field), spectrum[modes.labels]))


def yukawa(lattice: Lattice, mass: float) -> np.ndarray:
    """m^2 / (khat^2 + m^2) on the momentum orbits: in position space it falls off as exp(-m |x|) and sums to 1."""
    return mass**2 / (lattice.orbit_momenta + mass**2)


def orbit_sum(lattice: Lattice, values: Float[Array, " orbits"]) -> Scalar:
    """Sum over all momenta of a quantity given per orbit: the log-determinant of a spectrum's logarithm."""
    return site_sum(values * lattice.orbit_sizes.astype(values.dtype))


def interpolate_spectrum(source: Lattice, target: Lattice, values: Float[Array, " orbits"]) -> Float[Array, " new"]:
    """Carry a function of khat^2, given per momentum orbit, to another lattice by linear interpolation in khat^2."""
    order = np.argsort(source.orbit_momenta, kind="stable")
    momenta, first = np.unique(np.round(source.orbit_momenta[order], 12), return_inverse=True)
    weights = source.orbit_sizes[order].astype(values.dtype)
    totals = jnp.zeros(momenta.shape, values.dtype).at[first].add(values[order] * weights)
    averages = totals / jnp.zeros(momenta.shape, values.dtype).at[first].add(weights)
    return jnp.interp(target.orbit_momenta.astype(values.dtype), momenta.astype(values.dtype), averages)


def _real_modes(extent: int) -> tuple[np.ndarray, np.ndarray]:
    """Orthogonal matrix of the cosines and sines on a periodic axis, and the index n of each row's k = 2 pi n / L."""
    positions = np.arange(extent)
    rows, momenta = [], []
    for n in range(extent // 2 + 1):
        real = n in (0, extent - n)
        norm = math.sqrt((1 if real else 2) / extent)
        rows.append(norm * np.cos(2 * np.pi * n * positions / extent))
        momenta.append(n)
        if not real:
            rows.append(norm * np.sin(2 * np.pi * n * positions / extent))
            momenta.append(n)
    return np.array(rows), np.array(momenta)
