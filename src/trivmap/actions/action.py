"""The contract of an action, and the check of its force that every action must pass."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp

from trivmap._types import Field, Key, Scalar


class AbstractAction(eqx.Module):
    """S(phi) of the target density exp(-S).

    To add one: subclass, write `__call__` for ONE configuration (batches come from `jax.vmap`) with every constant
    included, declare `symmetries`, and pass `force_error` and
    `require_symmetries`. A closed form of `force` may replace the derivative. If the
    action has the form sum_x [c1 sum_mu phi(x) phi(x+mu) + c2 phi^2 + c4 phi^4], give `coefficients`: the Hartree
    start of the free-field base needs them.
    """

    @abc.abstractmethod
    def __call__(self, field: Field) -> Scalar:
        """S of one configuration."""

    def force(self, field: Field) -> Field:
        """-dS/dphi at every site."""
        return -jax.grad(self.__call__)(field).astype(field.dtype)

    def complete(self, key: Key, field: Field) -> Field:
        """The field with what S has integrated out drawn from its density given the rest: here nothing has been."""
        return field

    @property
    def decimated(self) -> bool:
        """Whether it is an action of the even sites only, as a flow of them needs it."""
        return False

    @property
    def whole(self) -> "AbstractAction":
        """The action of the whole field, which `complete` gives: what observables are measured with."""
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
        """(c1, c2, c4) where the action has that form, else None."""
        return None


def force_error(action: AbstractAction, key: Key, shape: tuple[int, ...]) -> float:
    """Largest deviation of S(phi + h v) - S(phi - h v) from -2h force . v over 8 random fields and directions v.

    Relative to |force| |v|: below 1e-7 for a correct force (1e-3 where float64 is disabled), of order one for a wrong
    one.
    """
    dtype = jax.dtypes.canonicalize_dtype(jnp.float64)
    step = float(jnp.finfo(dtype).eps) ** (1 / 3)

    def deviation(sample: Key) -> Scalar:
        field, direction = jax.random.normal(sample, (2, *shape), dtype)
        measured = (action(field - step * direction) - action(field + step * direction)) / (2 * step)
        force = action.force(field)
        predicted = jnp.sum(force * direction)
        return jnp.abs(measured - predicted) / (jnp.linalg.norm(force) * jnp.linalg.norm(direction))

    return float(jnp.max(jax.jit(jax.vmap(deviation))(jax.random.split(key, 8))))
