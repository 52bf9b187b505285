"""The interacting scalar."""

from typing import SupportsFloat

import equinox as eqx

from trivmap._types import Field, Scalar, site_sum
from trivmap.actions.action import AbstractAction
from trivmap.actions.nearest_neighbor import all_neighbors, forward_neighbors, require_dimension
from trivmap.actions.notations import coefficients, require_integrable


class Phi4(AbstractAction):
    """S = sum_x [ c1 sum_mu phi(x) phi(x+mu) + c2 phi(x)^2 + c4 phi(x)^4 ], periodic, in `dimension` dimensions.

    It is exactly this formula, with no constant dropped or added. `from_couplings` takes the notations of the
    literature.

    Raises `InputError` if exp(-S) has no integral (c4 < 0; c4 = 0 and c2 <= d |c1|) or a coupling is not finite.
    """

    c1: float
    c2: float
    c4: float
    dimension: int = eqx.field(static=True)

    def __init__(self, c1: float, c2: float, c4: float, dimension: int):
        require_integrable(c1, c2, c4, dimension)
        self.c1, self.c2, self.c4, self.dimension = float(c1), float(c2), float(c4), dimension

    @classmethod
    def from_couplings(cls, notation: str, dimension: int, **couplings: SupportsFloat) -> "Phi4":
        """The action in one of the notations `standard`, `albergo2019`, `bosetti2015`, `nicoli2020`."""
        return cls(*coefficients(notation, couplings, dimension), dimension)

    def __call__(self, field: Field) -> Scalar:
        require_dimension(field, self.dimension)
        square = field * field
        density = field * (self.c1 * forward_neighbors(field)) + square * (self.c2 + self.c4 * square)
        return site_sum(density)

    def force(self, field: Field) -> Field:
        return -(self.c1 * all_neighbors(field) + field * (2 * self.c2 + 4 * self.c4 * field * field))

    @property
    def symmetries(self) -> frozenset[str]:
        return frozenset({"z2", "translations", "point-group"})

    @property
    def coefficients(self) -> tuple[float, float, float]:
        return self.c1, self.c2, self.c4
