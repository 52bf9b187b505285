"""The contract of a space: the set of all configurations."""

import abc
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike

from trivmap._types import Component, Field, Key, Scalar, draw_normal
from trivmap.lattice import Lattice


class AbstractSpace(abc.ABC):
    """The set of values that a field takes at every site, with the measure that exp(-S) is a density of.

    Samplers move in a space along tangents. A tangent has the shape of the field, and its components belong to an
    orthonormal frame, so that its square is the sum of their squares. `move` carries the frame along, so that a
    momentum keeps its components: flat spaces, tori and groups have such frames, spheres do not. A space is static:
    frozen, hashable, without arrays.

    To add one: make it a frozen dataclass and write the abstract methods. `components` gives the vectors
    for correlators, the magnetization and the energy of neighbors.
    """

    @abc.abstractmethod
    def __str__(self) -> str:
        """The fields in words, as in "its fields are angles"."""

    @abc.abstractmethod
    def shape(self, lattice: Lattice) -> tuple[int, ...]:
        """The shape of a configuration: components first, then the lattice."""

    def form(self, lattice: Lattice, dtype: DTypeLike) -> jax.ShapeDtypeStruct:
        """Shape and dtype of a configuration, for tracing."""
        return jax.ShapeDtypeStruct(self.shape(lattice), jnp.dtype(dtype))

    @property
    @abc.abstractmethod
    def linear(self) -> bool:
        """True if the fields are a vector space, whose measure is the flat one: the product of all d phi."""

    @property
    def unit_vectors(self) -> bool:
        """True if the vectors of `components` fill a unit sphere."""
        return False

    @abc.abstractmethod
    def components(self, field: Field) -> tuple[Component, ...]:
        """The vector s(x) at every site, one array of shape `lattice.shape` for each of its components."""

    @abc.abstractmethod
    def disordered(self, key: Key, lattice: Lattice, dtype: DTypeLike) -> Field:
        """A disordered configuration: from the invariant measure, or unit normal if that cannot be normalized."""

    @abc.abstractmethod
    def ordered(self, energy: Callable[[Field], Scalar], sign: int, lattice: Lattice, dtype: DTypeLike) -> Field:
        """A constant configuration.

        Args:
            energy: the function that should be small there.
            sign: 0 for the origin; 1 and -1 for opposite ordered configurations.
            lattice: the lattice.
            dtype: the precision.
        """

    @abc.abstractmethod
    def move(self, field: Field, tangent: Field) -> Field:
        """The field after it has moved along a geodesic, in the direction of a tangent, for unit time."""

    @abc.abstractmethod
    def displacement(self, start: Field, end: Field) -> Field:
        """The shortest tangent that moves `start` to `end`."""

    def representative(self, key: Key, field: Field) -> Field:
        """Other numbers for the same point of the space, if there are any."""
        return field

    def tangent(self, field: Field, cotangent: Field) -> Field:
        """The gradient of a function as a tangent, from its derivative by the numbers of the array (`jax.grad`).

        By default these numbers are coordinates in an orthonormal frame.
        """
        return cotangent

    def momentum(self, key: Key, lattice: Lattice, dtype: DTypeLike) -> Field:
        """A tangent of unit normal components."""
        return draw_normal(key, self.shape(lattice), dtype)
