"""All devices of a run as one: they share the configurations of a batch, and each has everything else.

With one device nothing here has an effect: programs and numbers are those of the functions themselves.
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

from trivmap.processes import is_distributed

A = TypeVar("A")

_AXIS = "configurations"
_chosen: ContextVar[Sequence[Any] | None] = ContextVar("devices", default=None)


@contextmanager
def using(devices: Sequence[Any]) -> Iterator[None]:
    """Trace for these devices while the block runs; by default all devices of all processes are used."""
    token = _chosen.set(devices)
    try:
        yield
    finally:
        _chosen.reset(token)


def device_count() -> int:
    """The number of devices that share the work."""
    return len(_devices())


def shard_batch(function: Callable[[Any, Any], A], shared: Any, batch: Any) -> A:
    """`function(shared, batch)`, with each device working on its share of the batch.

    Every array of `batch` and of the result has the configurations as its leading axis, and entry i of the result must
    depend only on `shared` and on entry i of the batch, which has the key of its random numbers. `shared` is any tree.
    If the number of devices does not divide the batch, it is padded with its own entries, whose results are dropped.

    It must be called while a program is traced. Values and derivatives are those of the function up to rounding.
    """
    if device_count() == 1:
        return function(shared, batch)
    size = len(jax.tree.leaves(batch)[0])
    missing = -size % device_count()
    if missing:
        wrapped = np.arange(size + missing) % size
        batch = jax.tree.map(lambda leaf: leaf[wrapped], batch)
    arrays, rest = eqx.partition(shared, eqx.is_array)
    # Loops begin with values that are equal on all devices and end with values that differ: JAX cannot check that.
    shares = jax.shard_map(
        lambda arrays, batch: function(eqx.combine(arrays, rest), batch),
        mesh=_mesh(),
        in_specs=(PartitionSpec(), PartitionSpec(_AXIS)),
        out_specs=PartitionSpec(_AXIS),
        check_vma=False,
    )
    result = shares(arrays, batch)
    return jax.tree.map(lambda leaf: leaf[:size], result) if missing else result


def replicate(tree: A) -> A:
    """The same arrays, complete on every device, as a program that uses several devices must return them."""
    if device_count() == 1:
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(_mesh(), PartitionSpec()))


def to_host(tree: A) -> A:
    """The result of a program that ends in `replicate`, as this process's own arrays, which any program accepts."""
    return tree if device_count() == 1 else jax.tree.map(_own, tree)


def _own(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array):
        return leaf
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_own(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
    # A new array, not bound to the old one's devices: a program for other devices could not use a bound array.
    return jnp.asarray(np.asarray(leaf))


def _devices() -> Sequence[Any]:
    return _chosen.get() or (jax.devices() if is_distributed() else jax.local_devices())


def _mesh() -> Mesh:
    return Mesh(np.array(_devices()), (_AXIS,))
