"""The measurements of a nearest-neighbor scalar field on batches of NumPy arrays, for samplers that run on the host.

Names, shapes and normalizations are those of `trivmap.observables.measure`. On one CPU core it takes half the time of
the compiled JAX function, which would cost more than the cluster updates themselves.
"""

import functools
from collections.abc import Sequence

import numpy as np
import scipy.fft

from trivmap.lattice import Lattice


def measure_on_host(
    coefficients: tuple[float, float, float], fields: np.ndarray, *, two_point: bool = True
) -> dict[str, np.ndarray]:
    """The measurements of `trivmap.observables.measure` for S = sum_x [c1 sum_mu phi phi(x+mu) + c2 phi^2 + c4 phi^4].

    `fields`: float64 (n, *lattice). Float64 results with the leading axis n, `two_point` in float32, which takes two
    thirds of the time and may be left out. The values of a configuration do not depend on the others.
    """
    lattice = Lattice(fields.shape[1:])
    c1, c2, c4 = coefficients
    count, volume, axes = len(fields), lattice.volume, range(1, fields.ndim)
    flat = fields.reshape(count, -1)
    squares = flat * flat
    # np.sum uses pairwise summation along the contiguous axis, one configuration at a time.
    links = [np.sum(fields * np.roll(fields, -1, axis), axis=tuple(axes)) for axis in axes]
    energy = functools.reduce(np.add, links) / volume
    phi2, phi4 = np.sum(squares, axis=1) / volume, np.sum(squares * squares, axis=1) / volume
    spectra = _axis_spectra(fields)
    extent = max(lattice.shape)
    measured = {
        "magnetization": np.sum(flat, axis=1) / volume,
        "phi2": phi2,
        "phi4": phi4,
        "ising_energy": energy / lattice.dimension,
        "action_density": c1 * energy + c2 * phi2 + c4 * phi4,
        "schwinger_dyson": 2 * c1 * energy + 2 * c2 * phi2 + 4 * c4 * phi4,
        "momentum_two_point": spectra[:, :2],
        "correlator": np.fft.irfft(spectra, n=extent)[:, : extent // 2 + 1],
    }
    return measured | ({"two_point": _two_point(lattice, fields.astype(np.float32))} if two_point else {})


def _axis_spectra(fields: np.ndarray) -> np.ndarray:
    """V^-1 |sum_x exp(-ikx) phi(x)|^2 for k along each axis of the largest extent L, averaged, (n, L // 2 + 1)."""
    shape = fields.shape[1:]
    longest = [axis for axis, extent in enumerate(shape) if extent == max(shape)]
    modes = [np.fft.rfft(np.sum(fields, axis=_others(axis, len(shape)))) for axis in longest]
    powers = [mode.real**2 + mode.imag**2 for mode in modes]
    return functools.reduce(np.add, powers) / (len(longest) * (fields.size // len(fields)))


def _others(axis: int, dimension: int) -> tuple[int, ...]:
    return tuple(1 + other for other in range(dimension) if other != axis)


def _two_point(lattice: Lattice, fields: np.ndarray) -> np.ndarray:
    axes: Sequence[int] = range(1, fields.ndim)
    modes = scipy.fft.rfftn(fields, axes=axes)
    power = (modes.real**2 + modes.imag**2) / lattice.volume
    everywhere = scipy.fft.irfftn(power, s=lattice.shape, axes=axes).reshape(len(fields), -1)
    order, starts, sizes = _orbit_order(lattice)
    return np.add.reduceat(everywhere[:, order], starts, axis=1) / sizes


@functools.lru_cache(maxsize=8)
def _orbit_order(lattice: Lattice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sites sorted by orbit, the start of each orbit, and its size in float32."""
    sizes = lattice.orbit_sizes
    order = np.argsort(lattice.orbits.ravel(), kind="stable")
    return order, np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes.astype(np.float32)
