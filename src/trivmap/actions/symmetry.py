"""Symmetries of fields on a lattice: their names and images, and the check that an action has those it declares."""

from collections.abc import Callable, Iterable, Iterator

import jax
import jax.numpy as jnp
from jax.core import Tracer

from trivmap._types import Field, Key, Scalar
from trivmap.actions.action import AbstractAction
from trivmap.errors import InputError
from trivmap.lattice import Lattice

EVERY = frozenset({"z2", "translations", "even-translations", "point-group"})
"""phi -> -phi; shifts by any displacement, and by only those of even x_1 + ... + x_d; reflections of axes and
exchanges of axes of equal extent."""
_FIELDS = 4


def closed(symmetries: Iterable[str]) -> frozenset[str]:
    """The symmetries together with those that they contain: translations contain even translations."""
    found = frozenset(symmetries)
    return found | {"even-translations"} if "translations" in found else found


def images(lattice: Lattice, name: str) -> Iterator[Callable[[Field], Field]]:
    """The generators of the symmetry called `name`, as functions of a field of `lattice`."""
    # The lattice axes are the last ones: earlier axes belong to the components of a field.
    axes = range(-lattice.dimension, 0)
    if name == "z2":
        yield lambda field: -field
    elif name == "translations":
        for axis in axes:
            yield lambda field, axis=axis: jnp.roll(field, 1, axis)
    elif name == "even-translations":
        for axis in axes:
            yield lambda field, axis=axis: jnp.roll(jnp.roll(field, 1, axes[0]), 1, axis)
    elif name == "point-group":
        for axis in axes:
            # Site 0 stays fixed.
            yield lambda field, axis=axis: jnp.roll(jnp.flip(field, axis), 1, axis)
            for other in range(-lattice.dimension, axis):
                if lattice.shape[axis] == lattice.shape[other]:
                    yield lambda field, axis=axis, other=other: jnp.swapaxes(field, axis, other)


def symmetry_errors(action: AbstractAction, key: Key, lattice: Lattice) -> dict[str, float]:
    """The largest |S(g phi) - S(phi)| for each symmetry, over its generators g and a few random fields.

    It is relative to |S| + |force| |phi|. For a symmetry of S it is rounding, below 1e-10 (1e-4 if float64 is
    disabled).
    """
    dtype = jax.dtypes.canonicalize_dtype(jnp.float64)
    keys = jax.random.split(key, _FIELDS)
    fields = jax.vmap(lambda key: action.space.disordered(key, lattice, dtype))(keys)

    @jax.jit
    def errors(fields: jax.Array) -> dict[str, Scalar]:
        def of_one(field: Field) -> dict[str, Scalar]:
            value = action(field)
            scale = jnp.abs(value) + jnp.linalg.norm(action.force(field)) * jnp.linalg.norm(field)
            found = {}
            for name in sorted(EVERY):
                moved = jnp.stack([action(image(field)) for image in images(lattice, name)])
                change = jnp.where(jnp.isfinite(moved), jnp.abs(moved - value), jnp.inf)
                # If S is NaN, this check cannot judge.
                found[name] = jnp.where(jnp.isfinite(value), jnp.max(change) / scale, 0)
            return found

        return jax.tree.map(jnp.max, jax.vmap(of_one)(fields))

    return {name: float(error) for name, error in errors(fields).items()}


def smallest_change() -> float:
    """The smallest change of S, in units of its size, that rounding cannot explain."""
    return 1e-8 if jnp.result_type(float) == jnp.float64 else 1e-3


def require_symmetries(action: AbstractAction, lattice: Lattice, wanted: Iterable[str] = ()) -> None:
    """Evaluate S on random fields and their images.

    Raises `InputError` if a symmetry that the action declares, or one of `wanted`, changes S.
    """
    errors = symmetry_errors(action, jax.random.key(0), lattice)
    limit = smallest_change()
    for name in sorted(closed(action.symmetries) | frozenset(wanted)):
        if name in errors and errors[name] >= limit:
            declared = name in closed(action.symmetries)
            who = f"{type(action).__name__} declares" if declared else "the flow has"
            remedy = f"remove it from the symmetries of {type(action).__name__}" if declared else "use maps without it"
            raise InputError(
                f"action: {who} the symmetry {name!r}, but S changes under it, by {errors[name]:.2g} of its size; "
                f"{remedy}"
            )


def can_be_evaluated(action: AbstractAction) -> bool:
    """True for a user's action with concrete numbers; within `jax.jit` they are not concrete."""
    own = not type(action).__module__.startswith("trivmap.")
    return own and not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(action))
