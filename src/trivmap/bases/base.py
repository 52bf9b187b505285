"""The contract of a base: the simple distribution a flow starts from."""

import abc

import equinox as eqx
from jaxtyping import DTypeLike

from trivmap._types import Field, Key, Scalar, draw_normal
from trivmap.actions import AbstractAction
from trivmap.errors import InputError
from trivmap.lattice import Lattice


class AbstractBase(eqx.Module):
    """A reparametrised density of one configuration: `push` turns parameter-free noise into the field.

    To add one: hold the parameters as inexact arrays, draw everything random in `noise`, so that a field can be
    evaluated and differentiated at fixed noise.
    """

    lattice: eqx.AbstractVar[Lattice]
    dtype: eqx.AbstractVar[str]

    def noise(self, key: Key) -> Field:
        """Unit normal noise z at every site."""
        return draw_normal(key, self.lattice.shape, self.dtype)

    @property
    def decimated(self) -> bool:
        """Whether it is a density of the even sites only, fields being zero at the odd ones."""
        return False

    @abc.abstractmethod
    def push(self, z: Field) -> tuple[Field, Scalar, Field]:
        """(x, log q(x), d log q / dx) at x = x(z)."""

    @abc.abstractmethod
    def log_density(self, x: Field) -> Scalar:
        """log q(x), normalised: the integral of q over all V sites is 1."""

    @abc.abstractmethod
    def astype(self, dtype: DTypeLike) -> "AbstractBase":
        """The same density, its noise and parameters in another floating-point precision."""

    def resize(self, lattice: Lattice, action: AbstractAction | None = None) -> "AbstractBase":
        """The same base on another lattice and, where it started from an action, at another coupling.

        Raises `InputError` where that makes no sense.
        """
        raise InputError(f"{type(self).__name__}: cannot be carried to lattice {list(lattice.shape)}; train it there")
