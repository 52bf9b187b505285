"""Translation- and point-group-invariant linear operators, given by one eigenvalue per momentum orbit."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from trivmap._types import Field, Scalar, site_sum
from trivmap.lattice import Lattice

# Measured on CPU, batch 128: one V x V matrix product beats two FFTs up to a few hundred sites.
_DENSE_UP_TO = 400


def apply_spectrum(lattice: Lattice, spectrum: Float[Array, " orbits"], field: Field) -> Field:
    """Multiply every Fourier mode of `field` by the eigenvalue of its momentum orbit.

    y(x) = V^-1 sum_k exp(ikx) lambda_k sum_x' exp(-ikx') phi(x'), with lambda_k = spectrum[lattice.orbits[k]]: a real
    symmetric operator because an orbit holds k and -k. The method (one circulant matrix, or FFTs) is chosen by size;
    results agree to rounding.
    """
    if lattice.volume <= _DENSE_UP_TO:
        # The log-determinant is that of these very eigenvalues: the few digits that accelerators give a float32
        # product by default would shift log Z by hundredths.
        exact = jax.lax.Precision.HIGHEST
        kernel = jnp.matmul(spectrum, _orbit_kernels(lattice).astype(spectrum.dtype), precision=exact)
        return jnp.matmul(kernel[_differences(lattice)], field.ravel(), precision=exact).reshape(lattice.shape)
    half = lattice.orbits[..., : lattice.shape[-1] // 2 + 1]
    modes = jnp.fft.rfftn(field)
    return jnp.fft.irfftn(modes * spectrum[half].astype(modes.dtype), s=lattice.shape)


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


def _orbit_kernels(lattice: Lattice) -> np.ndarray:
    """Fourier transform of each orbit's indicator, shape (orbits, V): the kernel of the operator is spectrum @ this."""
    indicators = lattice.orbits[None] == np.arange(len(lattice.orbit_sizes)).reshape(-1, *[1] * lattice.dimension)
    axes = tuple(range(1, lattice.dimension + 1))
    return np.fft.ifftn(indicators, axes=axes).real.reshape(len(indicators), -1)


def _differences(lattice: Lattice) -> np.ndarray:
    """Flat index of x - y for every pair of sites, shape (V, V)."""
    sites = np.indices(lattice.shape).reshape(lattice.dimension, -1)
    delta = [(s[:, None] - s[None, :]) % extent for s, extent in zip(sites, lattice.shape, strict=True)]
    return np.ravel_multi_index(delta, lattice.shape)
