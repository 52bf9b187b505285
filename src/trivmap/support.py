"""The sites of a lattice that a density draws."""

import enum

import jax.numpy as jnp

from trivmap._types import Field
from trivmap.lattice import Lattice


class Support(enum.Enum):
    """The sites on which a density is defined; a field has the shape of its lattice for any support."""

    ALL = "all sites"
    EVEN = "the even sites"
    """The sites of the checkerboard with even x_1 + ... + x_d."""

    def restrict(self, lattice: Lattice, field: Field) -> Field:
        """The field at these sites, zero at the others, for sums over sites.

        Args:
            lattice: the lattice.
            field: one configuration.
        """
        return field if self is Support.ALL else jnp.where(lattice.parity == 0, field, 0)

    def mark(self, lattice: Lattice, field: Field) -> Field:
        """The field at these sites, NaN at the others, so that the others cannot be measured by mistake.

        Args:
            lattice: the lattice.
            field: one configuration.
        """
        return field if self is Support.ALL else jnp.where(lattice.parity == 0, field, jnp.nan)
