"""The changing leaves of a pytree as one vector per dtype.

A training state has hundreds of small leaves, each of which would need a file or a round trip of its own; packed by
dtype, a checkpoint takes a tenth of the time.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from trivmap.errors import InputError


class PackedState(NamedTuple):
    """`leaves`: name, shape, dtype (and the generator of a key) of each leaf in order; `vectors`: dtype -> values."""

    leaves: list[dict[str, Any]]
    vectors: dict[str, np.ndarray]


def pack(state: Any) -> PackedState:
    """All array, key and number leaves of a pytree; others (functions, text) do not change and are left out."""
    named = [(name, leaf) for name, leaf in _named_leaves(state) if _changes(leaf)]
    values = jax.device_get([jax.random.key_data(leaf) if _is_key(leaf) else leaf for _, leaf in named])
    parts: dict[str, list[np.ndarray]] = {}
    leaves = []
    for (name, leaf), value in zip(named, values, strict=True):
        form = _form(name, leaf)
        generator = {"generator": str(jax.random.key_impl(leaf))} if _is_key(leaf) else {}
        leaves.append(form | generator)
        parts.setdefault(form["dtype"], []).append(np.asarray(value).ravel())
    vectors = {dtype: np.concatenate(arrays) for dtype, arrays in parts.items()}
    return PackedState(leaves, {dtype: vector for dtype, vector in vectors.items() if vector.size})


def unpack(packed: PackedState, template: Any) -> Any:
    """The pytree that was given to `pack`, bit-identical, in the structure of `template`.

    The template's leaves may be arrays or `jax.ShapeDtypeStruct`s. Raises `InputError` at the first leaf that differs
    in name, shape or dtype.
    """
    named = _named_leaves(template)
    expected = [_form(name, leaf) for name, leaf in named if _changes(leaf)]
    generators = [leaf.get("generator") for leaf in packed.leaves]
    stored = [{key: value for key, value in leaf.items() if key != "generator"} for leaf in packed.leaves]
    for held, wanted in zip(stored, expected, strict=False):
        if held != wanted:
            raise InputError(f"it holds {_shown(held)} where the model has {_shown(wanted)}")
    if len(stored) != len(expected):
        raise InputError(f"it holds {len(stored)} arrays where the model has {len(expected)}")
    taken: dict[str, int] = {}
    described = iter(zip(stored, generators, strict=True))
    leaves = []
    for _, leaf in named:
        if not _changes(leaf):
            leaves.append(leaf)
            continue
        form, generator = next(described)
        dtype, start = form["dtype"], taken.get(form["dtype"], 0)
        stop = start + math.prod(form["shape"])
        vector = packed.vectors.get(dtype, np.zeros(0, dtype))
        leaves.append(_restored(vector[start:stop].reshape(form["shape"]), generator, leaf))
        taken[dtype] = stop
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="."), leaf) for path, leaf in flat]


def _changes(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct, bool, int, float, complex))


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct)) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _form(name: str, leaf: Any) -> dict[str, Any]:
    """The facts in which a stored leaf must agree with the template's leaf."""
    form: dict[str, Any] = {"name": name}
    if _is_key(leaf):
        # The dtype of a typed key names its generator: key<fry>.
        form["key"] = str(leaf.dtype)
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    elif isinstance(leaf, (bool, int, float, complex)):
        leaf = np.asarray(leaf)
    return form | {"shape": list(leaf.shape), "dtype": np.dtype(leaf.dtype).name}


def _shown(form: Mapping[str, Any]) -> str:
    return f"{form['name']} of shape {form['shape']} and type {form.get('key', form['dtype'])}"


def _restored(value: np.ndarray, generator: str | None, leaf: Any) -> Any:
    # `jnp.array` copies: a view of the stored vector must not be donated to a computation.
    if generator is not None:
        return jax.random.wrap_key_data(jnp.array(value), impl=generator)
    if isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct)):
        return jnp.array(value)
    if isinstance(leaf, np.ndarray):
        return value.copy()
    return value[()] if isinstance(leaf, np.generic) else value.item()
