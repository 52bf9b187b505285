"""The XY model."""

import functools

import equinox as eqx
import jax.numpy as jnp

from trivmap._types import Field, Scalar, site_sum
from trivmap.actions.action import AbstractAction
from trivmap.actions.nearest_neighbor import require_dimension
from trivmap.arguments import Coupling, bounded
from trivmap.spaces import Angle


class XY(AbstractAction):
    """S = -beta sum_x sum_mu cos(theta(x) - theta(x+mu)), periodic, in `dimension` dimensions, of angles theta.

    The measure is the product of all d theta over [-pi, pi]. In d = 2 the model has a Berezinskii-Kosterlitz-Thouless
    transition at beta = 1.1199 (arXiv:cond-mat/0502556).

    Args:
        beta: the coupling, the inverse temperature; it may be negative
        dimension: d.
    """

    beta: float
    dimension: int = eqx.field(static=True)

    @bounded
    def __init__(self, beta: Coupling, dimension: int):
        self.beta, self.dimension = float(beta), dimension

    def __call__(self, field: Field) -> Scalar:
        require_dimension(field, self.dimension)
        differences = [jnp.cos(field - jnp.roll(field, -1, axis)) for axis in range(field.ndim)]
        return -self.beta * site_sum(functools.reduce(jnp.add, differences))

    def force(self, field: Field) -> Field:
        slopes = [jnp.sin(jnp.roll(field, step, axis) - field) for axis in range(field.ndim) for step in (1, -1)]
        return self.beta * functools.reduce(jnp.add, slopes)

    @property
    def space(self) -> Angle:
        return Angle()

    @property
    def symmetries(self) -> frozenset[str]:
        return frozenset({"z2", "translations", "point-group"})
