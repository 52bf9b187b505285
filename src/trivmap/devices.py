"""All devices of a run as one: the configurations of a batch cut among them, everything else on each of them.

With one device nothing here does anything: programs and numbers are those of the functions themselves.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from trivmap.processes import several

A = TypeVar("A")

_AXIS = "configurations"
_chosen: ContextVar[Sequence[Any] | None] = ContextVar("devices", default=None)


@contextmanager
def using(devices: Sequence[Any]) -> Iterator[None]:
    """What is traced while the block runs is for these devices; by default all are used, of all processes together."""
    token = _chosen.set(devices)
    try:
        yield
    finally:
        _chosen.reset(token)


def device_count() -> int:
    """Devices that share the work."""
    return len(_devices())


def spread(function: Callable[[Any, Any], A], shared: Any, batch: Any) -> A:
    """`function(shared, batch)`, each device working on its share of the batch.

    Every array of `batch` and of the result has the configurations as its leading axis, and entry i of the result must
    depend on nothing but `shared` and entry i of the batch: with random numbers, on the key in that entry. `shared` is
    any tree. A batch that the devices do not divide is filled up with entries of itself, whose results are dropped.

    To be called while a program is traced. Values and derivatives are those of the function up to rounding.
    """
    if device_count() == 1:
        return function(shared, batch)
    size = len(jax.tree.leaves(batch)[0])
    missing = -size % device_count()
    if missing:
        wrapped = np.arange(size + missing) % size
        batch = jax.tree.map(lambda leaf: leaf[wrapped], batch)
    arrays, rest = eqx.partition(shared, eqx.is_array)
    # What the library's loops begin with is the same on all devices, what they end with is not: unchecked.
    shares = jax.shard_map(
        lambda arrays, batch: function(eqx.combine(arrays, rest), batch),
        mesh=_mesh(),
        in_specs=(PartitionSpec(), PartitionSpec(_AXIS)),
        out_specs=PartitionSpec(_AXIS),
        check_vma=False,
    )
    result = shares(arrays, batch)
    return jax.tree.map(lambda leaf: leaf[:size], result) if missing else result


def replicated(tree: A) -> A:
    """The same arrays, whole on every device: what a program that spreads must return."""
    if device_count() == 1:
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(_mesh(), PartitionSpec()))


def at_hand(tree: A) -> A:
    """What a program has returned `replicated`, as this process's own arrays: they go anywhere, into a program too."""
    return tree if device_count() == 1 else jax.tree.map(_own, tree)


def _own(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array):
        return leaf
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_own(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
    # Without the devices it comes from: an array that insists on some fits no program of others.
    return jnp.asarray(np.asarray(leaf))


def _devices() -> Sequence[Any]:
    return _chosen.get() or (jax.devices() if several() else jax.local_devices())


def _mesh() -> Mesh:
    return Mesh(np.array(_devices()), (_AXIS,))
