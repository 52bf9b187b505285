"""Paths of densities for annealing, from one that is drawn exactly to exp(-S)."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import DTypeLike

from trivmap._types import Field, Key, Scalar, site_sum
from trivmap.actions import AbstractAction
from trivmap.actions.action import scalar_coefficients
from trivmap.actions.nearest_neighbor import all_neighbors
from trivmap.actions.site_density import SiteDensity
from trivmap.errors import InputError
from trivmap.flows import Flow
from trivmap.lattice import Lattice
from trivmap.tuning import tuning


class AbstractPath(eqx.Module):
    """exp(-U_s(x)), U_s = U_0 + s D, 0 <= s <= 1, in a variable x of shape `lattice.shape` that stands for the field.

    exp(-U_0) is normalized and drawn exactly by `start`; exp(-U_1) is exp(-S) in the variable x, so that its integral
    is Z and E_0[exp(-D)] = Z. Methods act on one configuration.
    """

    @property
    @abc.abstractmethod
    def lattice(self) -> Lattice: ...

    @property
    def micro_batch(self) -> int:
        """Configurations to evaluate at once within a larger batch: those that fit the caches, as for a flow."""
        return tuning().map_batch(self.lattice.volume)

    @abc.abstractmethod
    def start(self, key: Key) -> Field:
        """An exact draw from exp(-U_0)."""

    @abc.abstractmethod
    def start_potential(self, x: Field) -> Scalar:
        """U_0 up to a constant."""

    @abc.abstractmethod
    def residual(self, x: Field) -> Scalar:
        """D = U_1 - U_0, every constant included."""

    @abc.abstractmethod
    def field(self, key: Key, x: Field) -> Field:
        """The field that x stands for; the part that x does not determine is drawn."""


class FlowPath(AbstractPath):
    """From a flow to exp(-S) in the noise z of its base: U_s = -log r(z) + s [log q(T(z)) + S(T(z))].

    (arXiv:2201.08862.) r is the density of the noise: if that is unit normal, U_0 = |z|^2 / 2.

    s = 0 is the flow itself; for a trivializing map the bracket is constant, and all s give the same density. A flow of
    a Hartree free field and an empty chain gives annealed importance sampling without any training. The exactness of a
    continuous flow is limited by its integration error, see `diagnostics.certificate`.
    """

    flow: Flow
    action: AbstractAction

    def __check_init__(self):
        self.flow.require_domain(self.action)

    @property
    def lattice(self) -> Lattice:
        return self.flow.lattice

    def start(self, key: Key) -> Field:
        return self.flow.noise(key)

    def start_potential(self, x: Field) -> Scalar:
        return -self.flow.base.log_noise(x)

    def residual(self, x: Field) -> Scalar:
        return self.flow.residual(self.action, x)

    def field(self, key: Key, x: Field) -> Field:
        return self.action.sample_conditional(key, self.flow.push(x)[0])


class HoppingExpansionPath(AbstractPath):
    """From independent sites to exp(-S) in the nearest-neighbor coupling: S_s = S with s c1 in place of c1.

    S = sum_x [ c1 sum_mu phi(x) phi(x+mu) + c2 phi^2 + c4 phi^4 ], with `action.coefficients`. The start is drawn site
    by site, and its log Z is V times that of one site, by quadrature.

    Raises `InputError` for an action without `coefficients`, or with a divergent single-site integral.
    """

    c1: float = eqx.field(static=True)
    site: SiteDensity = eqx.field(static=True)
    shape: Lattice = eqx.field(static=True)
    dtype: str = eqx.field(static=True)
    site_log_z: float = eqx.field(static=True)

    def __init__(self, lattice: Lattice, action: AbstractAction, *, dtype: DTypeLike):
        found = scalar_coefficients(action)
        if found is None:
            raise InputError(
                "annealing: the path in the hopping parameter needs an action with coefficients (c1, c2, c4); anneal "
                "from a flow instead"
            )
        c1, c2, c4 = found
        self.c1, self.site = c1, SiteDensity(c2, c4)
        self.shape, self.dtype, self.site_log_z = lattice, jnp.dtype(dtype).name, self.site.log_z

    @property
    def lattice(self) -> Lattice:
        return self.shape

    def start(self, key: Key) -> Field:
        return self.site.sample(key, jnp.zeros(self.lattice.shape, self.dtype))

    def start_potential(self, x: Field) -> Scalar:
        square = x * x
        return site_sum(square * (self.site.c2 + self.site.c4 * square))

    def residual(self, x: Field) -> Scalar:
        # The coupling multiplies the sum in its precision: rounded to the field's, it would shift all weights alike.
        return 0.5 * self.c1 * site_sum(x * all_neighbors(x)) - self.lattice.volume * self.site_log_z

    def field(self, key: Key, x: Field) -> Field:
        return x

    def source(self, x: Field, s: Scalar) -> Field:
        """h of exp(-c2 phi^2 - c4 phi^4 + h phi), the density of each site given its neighbors, at s."""
        return -(s.astype(x.dtype) * self.c1) * all_neighbors(x)
