"""An action whose odd sites are integrated out exactly."""

import equinox as eqx
import jax.numpy as jnp

from trivmap._types import Field, Key, Scalar, site_sum
from trivmap.actions.action import AbstractAction, scalar_coefficients
from trivmap.actions.nearest_neighbor import all_neighbors, require_dimension
from trivmap.actions.site_density import SiteDensity
from trivmap.actions.symmetry import closed
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.spaces import AbstractSpace
from trivmap.support import Support


class Decimated(AbstractAction):
    """S_eff = sum_even [c2 phi^2 + c4 phi^4] - sum_odd log Z1(h), h(x) = -c1 sum of the neighbors of x.

    exp(-S_eff) is the integral of exp(-S) over the field at the odd sites of the checkerboard (x_1 + ... + x_d odd),
    S = sum_x [c1 sum_mu phi(x) phi(x+mu) + c2 phi^2 + c4 phi^4]: given the even sites they are independent, each with
    the density of `SiteDensity`. The integral of exp(-S_eff) over the V/2 even sites is therefore Z, and
    `sample_conditional` draws the odd sites. Fields keep the shape of the lattice, and their values at odd sites are
    ignored.

    Raises `InputError` for an odd extent, for an action without `coefficients`, or for one with a divergent single-site
    integral or wells too narrow for the quadrature.
    """

    action: AbstractAction
    c1: float
    site: SiteDensity = eqx.field(static=True)
    lattice: Lattice = eqx.field(static=True)

    def __init__(self, action: AbstractAction, lattice: Lattice):
        lattice.require_checkerboard()
        found = scalar_coefficients(action)
        if found is None:
            raise InputError("model.sites: even needs an action with coefficients (c1, c2, c4); use all")
        c1, c2, c4 = found
        self.action, self.c1, self.site, self.lattice = action, c1, SiteDensity(c2, c4), lattice
        self.site.require_quadrature()

    def __call__(self, field: Field) -> Scalar:
        require_dimension(field, self.lattice.dimension)
        even = self.support.restrict(self.lattice, field)
        square = even * even
        odd = jnp.where(self.lattice.parity == 1, self.site.log_partition(self._source(even)), 0)
        return site_sum(square * (self.site.c2 + self.site.c4 * square)) - site_sum(odd)

    def sample_conditional(self, key: Key, field: Field) -> Field:
        drawn = self.site.sample(key, self._source(self.support.restrict(self.lattice, field)))
        return jnp.where(self.lattice.parity == 0, field, drawn)

    @property
    def space(self) -> AbstractSpace:
        return self.action.space

    @property
    def support(self) -> Support:
        return Support.EVEN

    @property
    def full(self) -> AbstractAction:
        return self.action

    def _source(self, even: Field) -> Field:
        return -self.c1 * all_neighbors(even)

    @property
    def symmetries(self) -> frozenset[str]:
        """The symmetries of the action, with only those of its translations that have an even displacement."""
        return closed(self.action.symmetries) - {"translations"}
