"""The contract of an action, checked for a user's own action before hours of sampling depend on it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike

from trivmap._types import Field, Key
from trivmap.actions.action import AbstractAction
from trivmap.actions.symmetry import EVERY, smallest_change
from trivmap.errors import InputError, shown
from trivmap.lattice import Lattice
from trivmap.spaces import AbstractSpace
from trivmap.tracing import traced


def require_action(action: AbstractAction, lattice: Lattice, dtype: DTypeLike) -> None:
    """Refuse an action that is not a function of the fields that it declares.

    S is traced on a field of its space, and evaluated on random fields, in double precision if that is enabled.

    Args:
        action: the action.
        lattice: the lattice of the fields.
        dtype: the precision of the fields.

    Raises:
        InputError: for an invalid space or symmetries, and for an S that cannot be traced, is not a scalar, is not
        finite,
            does not depend on every site, or differs between two representatives of one point of the space.
    """
    name, space = type(action).__name__, action.space
    if not isinstance(space, AbstractSpace):
        raise InputError(f"action: the space of {name} must be an object such as Angle(), got {shown(space)}")
    symmetries = action.symmetries
    if not isinstance(symmetries, (set, frozenset)) or not symmetries <= EVERY:
        raise InputError(
            f"action: the symmetries of {name} must be a set of names among {', '.join(sorted(EVERY))}, got "
            f"{shown(symmetries)}"
        )
    failure = f"action: S of {name} cannot be traced on a field of {space} by JAX"
    found = traced(failure, action, space.form(lattice, dtype))
    if getattr(found, "shape", None) != () or not jnp.issubdtype(found.dtype, jnp.floating):
        raise InputError(
            f"action: S of {name} must be one real number, got {getattr(found, 'dtype', type(found).__name__)} of "
            f"shape {list(getattr(found, 'shape', ()))}; sum over the sites"
        )
    _require_values(action, lattice)


def _require_values(action: AbstractAction, lattice: Lattice) -> None:
    name, space = type(action).__name__, action.space
    dtype = jax.dtypes.canonicalize_dtype(jnp.float64)
    value, slope, other = jax.jit(lambda key: _evaluated(action, lattice, dtype, key))(jax.random.key(0))
    if not (jnp.isfinite(value) and jnp.all(jnp.isfinite(slope))):
        raise InputError(f"action: S of {name}, or its derivative, is not finite on a random field")
    if not jnp.all(slope != 0):
        raise InputError(
            f"action: S of {name} does not depend on every number of its fields, which are {space}; declare the space, "
            "or add the terms of the other sites"
        )
    if not jnp.abs(other - value) <= smallest_change() * (jnp.abs(value) + jnp.linalg.norm(slope)):
        raise InputError(f"action: S of {name} has two values at one point: its fields are {space}")


def _evaluated(action: AbstractAction, lattice: Lattice, dtype: DTypeLike, key: Key) -> tuple[Array, Field, Array]:
    """S at a random field, its derivative, and S at another representative of the field."""
    drawn, moved = jax.random.split(key)
    field = action.space.disordered(drawn, lattice, dtype)
    value, slope = jax.value_and_grad(action)(field)
    return value, slope, action(action.space.representative(moved, field))
