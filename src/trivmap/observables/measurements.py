"""Measurements of one configuration of a real scalar field, V sites in d dimensions; batches come from `jax.vmap`.

Sums over sites are accumulated in float64 if it is enabled.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from trivmap._types import Field, Scalar, site_sum
from trivmap.actions import AbstractAction
from trivmap.lattice import Lattice


def magnetization(field: Field) -> Scalar:
    """m = V^-1 sum_x phi(x)."""
    return site_sum(field) / field.size


def mean_power(power: int, field: Field) -> Scalar:
    """V^-1 sum_x phi(x)^power."""
    return site_sum(field**power) / field.size


def action_density(field: Field, action: AbstractAction) -> Scalar:
    """S / V."""
    return action(field) / field.size


def schwinger_dyson(field: Field, action: AbstractAction) -> Scalar:
    """V^-1 sum_x phi(x) dS/dphi(x), 1 on average in every correct ensemble."""
    return -site_sum(field * action.force(field)) / field.size


def ising_energy(field: Field) -> Scalar:
    """(d V)^-1 sum_x sum_mu phi(x) phi(x + mu); at extent 2 the two links between a pair of sites both count."""
    links = [site_sum(field * jnp.roll(field, -1, axis)) for axis in range(field.ndim)]
    return functools.reduce(jnp.add, links) / (field.ndim * field.size)


def momentum_two_point(field: Field) -> Float[Array, " 2"]:
    """G(0) and G(k1) of G(k) = V^-1 |sum_x exp(-ikx) phi(x)|^2, nothing subtracted, so that G(0) = V m^2.

    k1 = 2 pi / L along one axis; G(k1) is averaged over the axes of the largest extent L.
    """
    return jnp.mean(_axis_spectra(field)[:, :2], axis=0)


def correlator(field: Field) -> Float[Array, " times"]:
    """Zero-momentum (wall to wall) correlator C(t), t = 0 ... L // 2, averaged over the axes of the largest extent L.

    C(t) = L^-1 sum_t0 s(t0) s(t0 + t) with s(t) = (V/L)^-1/2 sum of phi over the slice t, nothing subtracted. It is
    symmetric under t -> L - t, and its sum over all L times is V m^2.
    """
    extent = max(field.shape)
    spectrum = jnp.mean(_axis_spectra(field), axis=0)
    return jnp.fft.irfft(spectrum, n=extent)[: extent // 2 + 1]


def two_point(field: Field) -> Float[Array, " orbits"]:
    """G(x) = V^-1 sum_y phi(y) phi(y + x) averaged over each orbit of displacements, in float32, nothing subtracted.

    The order is that of `Lattice.orbits`. Uses FFTs, O(V log V).
    """
    spectrum = jnp.abs(_real_fft(field)) ** 2 / field.size
    everywhere = _inverse_real_fft(spectrum, field.shape).ravel()
    members, weights = _orbit_members(Lattice(field.shape))
    return jnp.sum(everywhere[members] * weights.astype(everywhere.dtype), axis=1).astype(jnp.float32)


def _axis_spectra(field: Field) -> Float[Array, "axes momenta"]:
    """G(k) for k along each axis of the largest extent, shape (axes, L // 2 + 1)."""
    extent = max(field.shape)
    wide = jax.dtypes.canonicalize_dtype(jnp.float64)
    longest = [axis for axis in range(field.ndim) if field.shape[axis] == extent]
    slices = [jnp.sum(field, axis=_all_but(axis, field.ndim), dtype=wide) for axis in longest]
    return jnp.abs(jnp.fft.rfft(jnp.stack(slices))) ** 2 / field.size


def _all_but(axis: int, dimension: int) -> tuple[int, ...]:
    return tuple(other for other in range(dimension) if other != axis)


def _real_fft(field: Field) -> Array:
    # Axis by axis, since XLA's transforms support at most three dimensions.
    modes = jnp.fft.rfft(field)
    for axis in range(field.ndim - 1):
        modes = jnp.fft.fft(modes, axis=axis)
    return modes


def _inverse_real_fft(modes: Array, shape: tuple[int, ...]) -> Array:
    for axis in range(len(shape) - 1):
        modes = jnp.fft.ifft(modes, axis=axis)
    return jnp.fft.irfft(modes, n=shape[-1])


@functools.lru_cache(maxsize=8)
def _orbit_members(lattice: Lattice) -> tuple[np.ndarray, np.ndarray]:
    """Flat index of every member of each orbit and its weight 1/size, shape (orbits, largest size), padded by 0.

    It is used in a gather, because the scatter of a segment sum is slow on every backend.
    """
    sizes, labels = lattice.orbit_sizes, lattice.orbits.ravel()
    position = np.arange(sizes.max())
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    slots = np.minimum(starts[:, None] + position, lattice.volume - 1)
    weights = np.where(position < sizes[:, None], 1.0 / sizes[:, None], 0.0)
    return np.argsort(labels, kind="stable")[slots], weights
