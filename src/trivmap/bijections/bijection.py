"""The contract of a bijection, and how to add one."""

import abc
from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from trivmap._types import Field, Scalar
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.support import Support


class AbstractBijection(eqx.Module):
    """A differentiable invertible map of ONE configuration, of shape `lattice.shape`; batches come from `jax.vmap`.

    To add one: subclass, hold the parameters as inexact arrays and everything else as static fields, write `forward`
    and `inverse`, start at or near the identity, declare its symmetries in `equivariant_under`, and add a line to the
    table of the contract test (`tests/bijections/test_contract.py`). Override `forward_with_score` if there is a
    cheaper way than the default. A map must not depend on other configurations of a batch: the density of one would
    depend on them.
    """

    lattice: eqx.AbstractVar[Lattice]

    @property
    def supports(self) -> frozenset[Support]:
        """The supports of the densities that it can map; on fewer than all sites, fields are zero elsewhere."""
        return frozenset({Support.ALL})

    @property
    def equivariant_under(self) -> frozenset[str]:
        """The symmetries g with f(g x) = g f(x), under the names of `AbstractAction.symmetries`; by default none.

        A flow of symmetric parts has a symmetric density, and refuses an action without the symmetry.
        """
        return frozenset()

    @abc.abstractmethod
    def forward(self, x: Field) -> tuple[Field, Scalar]:
        """(y, log |det dy/dx|)."""

    @abc.abstractmethod
    def inverse(self, y: Field) -> tuple[Field, Scalar]:
        """(x, log |det dx/dy|)."""

    def forward_with_score(self, x: Field, score: Field) -> tuple[Field, Scalar, Field]:
        """(y, log |det dy/dx|, d log q / dy) from the score d log q / dx before the map.

        log q_y(y) = log q_x(x(y)) + log |det dx/dy|, so the new score is the vector-Jacobian product of `inverse` with
        (score, 1) (arXiv:2206.09016). It is a constant to differentiation with respect to parameters.
        """
        y, log_det = self.forward(x)
        fixed = jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, self)
        (_, inverse_log_det), pull = jax.vjp(fixed.inverse, jax.lax.stop_gradient(y))
        (new_score,) = pull((jax.lax.stop_gradient(score), jnp.ones_like(inverse_log_det)))
        return y, log_det, new_score

    def stages(self, x: Field) -> Iterator[tuple[str, Field, Scalar]]:
        """(name, field, log-determinant so far) at interesting points along the map; the end comes last."""
        yield type(self).__name__, *self.forward(x)

    def perturbed(self, u: Scalar) -> "AbstractBijection":
        """The same map up to its integration error, its time grid shifted by u in [0, 1); exact maps do not change.

        Training draws a new u for every step, so that it cannot learn to exploit the integration error.
        """
        return self

    @property
    def integration_steps(self) -> int | Int[Array, ""] | None:
        """Steps of the numerical integration that the map relies on; None for a map that is exact."""
        return None

    def with_integration_steps(self, steps: int | Int[Array, ""]) -> "AbstractBijection":
        """The same map, integrated with another number of steps."""
        return self

    def l2_weights(self) -> "AbstractBijection":
        """The map with every parameter replaced by the weight of its square in the Gauss-Newton objective: zeros."""
        return jax.tree.map(lambda leaf: jnp.zeros_like(leaf) if eqx.is_inexact_array(leaf) else leaf, self)

    def resize(self, lattice: Lattice) -> "AbstractBijection":
        """The same map on another lattice; raises `InputError` if that is not possible."""
        raise InputError(
            f"{type(self).__name__}: cannot be carried from lattice {list(self.lattice.shape)} to "
            f"{list(lattice.shape)}; train it there from scratch"
        )
