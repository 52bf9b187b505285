"""The contract of a base: the simple distribution that a flow starts from."""

import abc
import math

import equinox as eqx
from jaxtyping import DTypeLike

from trivmap._types import Field, Key, Scalar, draw_normal, site_sum
from trivmap.actions import AbstractAction
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.spaces import AbstractSpace, Real
from trivmap.support import Support


class AbstractBase(eqx.Module):
    """A reparametrized density of one configuration: `push` turns parameter-free noise into the field.

    To add one: hold the parameters as inexact arrays, and draw all random numbers in `noise`, so that a field can be
    evaluated and differentiated at fixed noise. Noise that is not unit normal needs its `log_noise`: samplers that move
    in the noise rely on it.

    Raises `InputError` if a subclass overrides only `noise`.
    """

    lattice: eqx.AbstractVar[Lattice]
    dtype: eqx.AbstractVar[str]

    def __check_init__(self):
        order = type(self).__mro__
        owners = [next(cls for cls in order if name in vars(cls)) for name in ("noise", "log_noise")]
        if order.index(owners[0]) < order.index(owners[1]):
            raise InputError(
                f"{owners[0].__name__}: draws its own noise, but log_noise is that of unit normal noise; give it "
                "log_noise(z), the log-density of its noise"
            )

    def noise(self, key: Key) -> Field:
        """Noise z at every site: unit normal by default."""
        return draw_normal(key, self.lattice.shape, self.dtype)

    def log_noise(self, z: Field) -> Scalar:
        """log r(z), with r the density of the noise over all V sites; it does not depend on the parameters."""
        return -0.5 * site_sum(z * z) - 0.5 * math.log(2 * math.pi) * self.lattice.volume

    @property
    def space(self) -> AbstractSpace:
        """The space of its fields."""
        return Real()

    @property
    def support(self) -> Support:
        """The sites that the base draws; fields are zero at the others."""
        return Support.ALL

    @property
    def equivariant_under(self) -> frozenset[str]:
        """The symmetries of the density, under the names of `AbstractAction.symmetries`; by default none."""
        return frozenset()

    @abc.abstractmethod
    def push(self, z: Field) -> tuple[Field, Scalar, Field]:
        """(x, log q(x), d log q / dx) at x = x(z)."""

    @abc.abstractmethod
    def log_density(self, x: Field) -> Scalar:
        """log q(x), normalized: the integral of q over all V sites is 1."""

    @abc.abstractmethod
    def astype(self, dtype: DTypeLike) -> "AbstractBase":
        """The same density, with noise and parameters in another floating-point precision."""

    def resize(self, lattice: Lattice, action: AbstractAction | None = None) -> "AbstractBase":
        """The same base on another lattice and, if it started from an action, at another coupling.

        Raises `InputError` if that is not possible.
        """
        raise InputError(f"{type(self).__name__}: cannot be carried to lattice {list(lattice.shape)}; train it there")
