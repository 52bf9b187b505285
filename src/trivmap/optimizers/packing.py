"""Trees of arrays laid end to end: a few long loops instead of many short ones."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

Vectors = Mapping[str, Float[Array, " entries"]]
"""One vector for each dtype that occurs, by the name of the dtype."""


def pack(tree: PyTree) -> Vectors:
    """The entries of all arrays of a tree."""
    parts: dict[str, list[Array]] = {}
    for leaf in jax.tree.leaves(tree):
        parts.setdefault(leaf.dtype.name, []).append(jnp.ravel(leaf))
    return {name: jnp.concatenate(part) for name, part in parts.items()}


def unpack(vectors: Vectors, like: PyTree) -> PyTree:
    """The tree of the form of `like` with these entries: the inverse of `pack`."""
    leaves, structure = jax.tree.flatten(like)
    pieces = {
        name: iter(jax.lax.split(vector, [leaf.size for leaf in leaves if leaf.dtype.name == name]))
        for name, vector in vectors.items()
    }
    return jax.tree.unflatten(structure, [next(pieces[leaf.dtype.name]).reshape(leaf.shape) for leaf in leaves])


def packed(optimizer: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """The optimizer, working on packed trees; it must treat every entry alike, whichever array it belongs to."""
    inner = optax.with_extra_args_support(optimizer)

    def init(parameters: PyTree) -> PyTree:
        return inner.init(pack(parameters))

    def update(updates: PyTree, state: PyTree, parameters: PyTree | None = None, **extra: Any) -> tuple[PyTree, PyTree]:
        given = None if parameters is None else pack(parameters)
        changed, state = inner.update(pack(updates), state, given, **extra)
        return unpack(changed, updates), state

    return optax.GradientTransformationExtraArgs(init, update)
