"""The free scalar, for which every number is known exactly."""

from typing import Annotated

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from trivmap._types import Field, Scalar, site_sum
from trivmap.actions.action import AbstractAction
from trivmap.actions.nearest_neighbor import require_dimension
from trivmap.actions.notations import SMALLEST_GAP
from trivmap.arguments import Bounds, Coupling, bounded
from trivmap.lattice import Lattice

_MassSquared = Annotated[Coupling, Bounds(least=SMALLEST_GAP, why="a massless field has no integral")]


class FreeScalar(AbstractAction):
    """S = sum_x [ -sum_mu phi(x) phi(x+mu) + (2d + m^2)/2 phi(x)^2 ] = 1/2 sum_k (khat^2 + m^2) |phi_k|^2 / V.

    Args:
        m_sq: the mass squared, for example 0.25
        dimension: d.

    Raises `InputError` unless m_sq is finite and at least 1e-8: a massless free field does not exist on a periodic
    lattice, and a smaller m_sq / 2 would be lost to rounding when it is added to d.
    """

    m_sq: float
    dimension: int = eqx.field(static=True)

    @bounded
    def __init__(self, m_sq: _MassSquared, dimension: int):
        self.m_sq, self.dimension = float(m_sq), dimension

    def __call__(self, field: Field) -> Scalar:
        require_dimension(field, self.dimension)
        # Uses differences: in 2 d phi - sum phi(x+mu) a small m_sq would be lost to rounding.
        steps = (jnp.roll(field, -1, axis) - field for axis in range(self.dimension))
        return 0.5 * site_sum(sum((step * step for step in steps), self.m_sq * field * field))

    def force(self, field: Field) -> Field:
        axes = range(self.dimension)
        steps = ((jnp.roll(field, -1, axis) - field) - (field - jnp.roll(field, 1, axis)) for axis in axes)
        return sum(steps, -self.m_sq * field)

    @property
    def symmetries(self) -> frozenset[str]:
        return frozenset({"z2", "translations", "point-group"})

    @property
    def coefficients(self) -> tuple[float, float, float]:
        return -1.0, self.dimension + self.m_sq / 2, 0.0

    def log_z(self, lattice: Lattice) -> float:
        """log of the integral of exp(-S) d^V phi = 1/2 sum_k log(2 pi / (khat^2 + m^2)), exact."""
        return float(0.5 * np.sum(np.log(2 * np.pi / (lattice.momentum_squared + self.m_sq))))
