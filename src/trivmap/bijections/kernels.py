"""Kernels W(x - y) that commute with translations and the point group, as sums over a fixed basis."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trivmap.arguments import Index, Positive, require_fields
from trivmap.errors import InputError
from trivmap.fourier import yukawa
from trivmap.lattice import Lattice

_MOST_FUNCTIONS = 2**12
_LARGEST_TABLE = 2**28


@dataclass(frozen=True)
class KernelBasis:
    """The basis for the expansion of kernels: one function per orbit of displacements within `radius`, and tails.

    An orbit's function is 1 / sqrt(size) on each of its displacements |x_mu| <= radius (`None`: the whole lattice);
    the tail of mass m has the spectrum m^2 / (khat^2 + m^2), which falls off as exp(-m |x|). A few tails reach as far
    as orbits over the whole lattice, with a number of coefficients that does not grow with the lattice.

    Args:
        radius: one coefficient per orbit of displacements up to it along each axis; null: the whole lattice
        masses: and one per tail m^2 / (khat^2 + m^2), which falls off as exp(-m |x|)

    Raises `InputError` for a negative radius, and for masses that are not positive and finite.
    """

    radius: Index | None = 1
    masses: Sequence[Positive] = (0.25, 0.5, 1.0, 2.0, 4.0)

    def __post_init__(self):
        object.__setattr__(self, "masses", tuple(self.masses))
        require_fields(self)

    def require_fit(self, lattice: Lattice) -> None:
        """Raise `InputError` for a basis whose table of spectra (functions times momenta) would be too large."""
        functions = lattice.orbit_count(self.radius) + len(self.masses)
        if functions > _MOST_FUNCTIONS or functions * lattice.volume > _LARGEST_TABLE:
            raise InputError(
                f"radius: stands for {functions} functions on {lattice.volume} sites, more than their table of spectra "
                "has room for; choose a smaller radius, masses reach as far"
            )

    def orbits(self, lattice: Lattice) -> np.ndarray:
        """Labels of the orbits within the radius."""
        reach = lattice.orbit_representatives.max(axis=1)
        return np.flatnonzero(reach <= (reach.max() if self.radius is None else self.radius))

    def spectra(self, lattice: Lattice) -> np.ndarray:
        """Eigenvalues of the basis on the momentum orbits, shape (basis, orbits): tails first, then displacements."""
        tails = [yukawa(lattice, mass) for mass in self.masses]
        index = tuple(lattice.orbit_representatives.T)
        rows = []
        for orbit in self.orbits(lattice):
            indicator = (lattice.orbits == orbit) / math.sqrt(lattice.orbit_sizes[orbit])
            rows.append(np.fft.fftn(indicator).real[index])
        return np.array([*tails, *rows])

    def carry(self, source: Lattice, target: Lattice) -> np.ndarray:
        """The matrix (source basis, target basis) that takes coefficients to another lattice.

        Tails and displacements are kept, with two exceptions. Displacements at x_mu = L_mu / 2 stand for two on a
        larger lattice, and split their weight. Displacements beyond half of a smaller lattice are folded back.
        """
        old, new = self.orbits(source), self.orbits(target)
        matrix = np.zeros((len(self.masses) + len(old), len(self.masses) + len(new)))
        matrix[: len(self.masses), : len(self.masses)] = np.eye(len(self.masses))
        column = {orbit: position + len(self.masses) for position, orbit in enumerate(new)}
        sizes_old, sizes_new = source.orbit_sizes, target.orbit_sizes
        for displacement in np.ndindex(source.shape):
            orbit = source.orbits[displacement]
            if orbit not in old:
                continue
            images = list(itertools.product(*map(_images, displacement, source.shape)))
            row = len(self.masses) + int(np.flatnonzero(old == orbit)[0])
            for image in images:
                folded = tuple(x % extent for x, extent in zip(image, target.shape, strict=True))
                landed = target.orbits[folded]
                if landed in column:
                    # The weight of one displacement is coefficient / sqrt(size of its orbit).
                    share = 1 / (len(images) * math.sqrt(sizes_old[orbit]))
                    matrix[row, column[landed]] += share / math.sqrt(sizes_new[landed])
        return matrix


def _images(x: int, extent: int) -> tuple[int, ...]:
    """The signed displacements that x stands for: two if x is half of the extent."""
    if 2 * x == extent:
        return (x, -x)
    return (x if 2 * x < extent else x - extent,)
