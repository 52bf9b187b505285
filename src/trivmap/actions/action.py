"""The contract of an action, and the check of its force that every action must pass."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp

from trivmap._types import Field, Key, Scalar
from trivmap.lattice import Lattice
from trivmap.spaces import AbstractSpace, Real
from trivmap.support import Support


class AbstractAction(eqx.Module):
    """S(phi) of the target density exp(-S).

    To add one: subclass, write `__call__` for ONE configuration (batches come from `jax.vmap`) with every constant
    included, declare `symmetries` and, for fields other than real numbers, the `space`, and check it with `force_error`
    and `require_symmetries`. A closed form of `force` may replace the derivative. If the action has the form sum_x [c1
    sum_mu phi(x) phi(x+mu) + c2 phi^2 + c4 phi^4], give `coefficients`: the Hartree start of the free-field base needs
    them.
    """

    @abc.abstractmethod
    def __call__(self, field: Field) -> Scalar:
        """S of one configuration."""

    def force(self, field: Field) -> Field:
        """-dS/dphi at every site, as a tangent of the `space`."""
        return -self.space.tangent(field, jax.grad(self.__call__)(field).astype(field.dtype))

    @property
    def space(self) -> AbstractSpace:
        """The space of its fields: real numbers unless a subclass declares another one."""
        return Real()

    def sample_conditional(self, key: Key, field: Field) -> Field:
        """The field, with sites that S has integrated out drawn from their density given the rest: here none."""
        return field

    @property
    def support(self) -> Support:
        """The sites whose field S depends on; a flow must have the same support."""
        return Support.ALL

    @property
    def full(self) -> "AbstractAction":
        """The action of all sites, for fields from `sample_conditional`: observables are measured with it."""
        return self

    @property
    @abc.abstractmethod
    def symmetries(self) -> frozenset[str]:
        """The symmetries that leave S unchanged.

        They are some of "z2" (phi -> -phi), "translations", "even-translations" (shifts by displacements of even
        x_1 + ... + x_d, which "translations" contain) and "point-group" (reflections, exchanges of equal axes).
        `require_symmetries` checks them.
        """

    @property
    def coefficients(self) -> tuple[float, float, float] | None:
        """(c1, c2, c4) if the action has that form, for one real number per site, otherwise None."""
        return None


def scalar_coefficients(action: AbstractAction) -> tuple[float, float, float] | None:
    """(c1, c2, c4) of an action of one real number per site in the form of `coefficients`, otherwise None."""
    return action.coefficients if action.space == Real() else None


def force_error(action: AbstractAction, key: Key, lattice: Lattice) -> float:
    """Largest deviation of S(phi + h v) - S(phi - h v) from -2h force . v over 8 random fields and directions v.

    It is relative to |force| |v|: below 1e-7 for a correct force (1e-3 if float64 is disabled), of order one for a
    wrong one. In a space that is not linear, phi + h v means phi moved by the tangent h v.

    Args:
        action: the action.
        key: the key of the fields and directions.
        lattice: the lattice of the fields.
    """
    dtype = jax.dtypes.canonicalize_dtype(jnp.float64)
    step, space = float(jnp.finfo(dtype).eps) ** (1 / 3), action.space

    def deviation(sample: Key) -> Scalar:
        of_field, of_direction = jax.random.split(sample)
        field, direction = space.disordered(of_field, lattice, dtype), space.momentum(of_direction, lattice, dtype)
        lower, upper = (space.move(field, sign * step * direction) for sign in (-1, 1))
        measured = (action(lower) - action(upper)) / (2 * step)
        force = action.force(field)
        predicted = jnp.sum(force * direction)
        return jnp.abs(measured - predicted) / (jnp.linalg.norm(force) * jnp.linalg.norm(direction))

    return float(jnp.max(jax.jit(jax.vmap(deviation))(jax.random.split(key, 8))))
