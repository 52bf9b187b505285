"""The contract of kernels, checked by tracing: a user's kernel is checked before a run begins."""

from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike

from trivmap.errors import InputError
from trivmap.samplers.independence import AbstractIndependence
from trivmap.samplers.kernel import AbstractKernel
from trivmap.spaces import AbstractSpace, Real
from trivmap.tracing import traced

_NOT_IN_STATES = ("step_size", "seconds")
"""Names that are stored beside the parts of a state."""
_NOT_RECORDED = ("accepted", "log_weight", "fields")
"""Names of the data that are stored for every step in any case."""


def require_contract(
    kernel: AbstractKernel,
    *,
    measured: Collection[str] = (),
    dtype: DTypeLike | None = None,
    space: AbstractSpace | None = None,
) -> None:
    """Raise `InputError` if a kernel does not return what a driver needs; nothing is computed.

    Args:
        kernel: the kernel.
        measured: names of measurements, which the kernel must not record.
        dtype: the precision that its fields must have (None: any).
        space: the space of its fields (None: real numbers).
    """
    space = space or Real()
    if kernel.space not in (None, space):
        raise InputError(f"kernel: the fields of {type(kernel).__name__} are {kernel.space}, those of S are {space}")
    shape = space.shape(kernel.lattice)
    kind = jnp.floating if dtype is None else jnp.dtype(dtype).type
    name, key = type(kernel).__name__, jax.eval_shape(jax.random.key, 0)
    if isinstance(kernel, AbstractIndependence):
        made = _traced(f"{name}.propose", kernel.propose, key)
        _require(f"{name}.propose: the field", getattr(made, "field", None), shape, kind)
        for entry in ("log_weight", "log_uniform"):
            _require(f"{name}.propose: {entry}", getattr(made, entry, None), (), jnp.floating)
        return
    state = _traced(f"{name}.init", kernel.init, key)
    _require(f"{name}.init: the state's field", getattr(state, "field", None), shape, kind)
    _require_storable(name, state)
    kernel = kernel.with_own_step_size()
    shared = _traced(f"{name}.shared", kernel.shared, key)
    stepped = _traced(f"{name}.step", kernel.step, key, state, shared)
    if not isinstance(stepped, tuple) or len(stepped) != 2 or hasattr(stepped, "field"):
        raise InputError(f"{name}.step: must return (state, info), got {type(stepped).__name__}")
    after, info = stepped
    if _form(state) != _form(after):
        raise InputError(f"{name}.step: returns another form of state than init: {_shown(after)}, not {_shown(state)}")
    _require(f"{name}.step: the info's accepted", getattr(info, "accepted", None), (), jnp.bool_)
    _require(f"{name}.acceptance", _traced(f"{name}.acceptance", kernel.acceptance, info), (), jnp.floating)
    _require(f"{name}.valid", _traced(f"{name}.valid", kernel.valid, state), (), jnp.bool_)
    recorded = _traced(f"{name}.record", kernel.record, info)
    for entry in recorded:
        if entry in _NOT_RECORDED or entry in measured or "/" in entry:
            raise InputError(f"{name}.record: {entry!r} is the name of something else; give another name")
    for entry, value in _traced(f"{name}.check", kernel.check, key, state, shared).items():
        _require(f"{name}.check: {entry}", value, (), jnp.floating)


def require_start(kernel: AbstractKernel, start: str | None, chains: int) -> None:
    """Raise `InputError` if a kernel does not support a kind of start, or returns states of another form for it.

    Args:
        kernel: the kernel.
        start: the kind of start; None for given configurations.
        chains: the number of chains.
    """
    name, key = type(kernel).__name__, jax.eval_shape(jax.random.key, 0)
    state = jax.eval_shape(kernel.init, key)
    if start is None:
        made, one = f"{name}.at", _traced(f"{name}.at", kernel.at, state.field)
    else:
        made, many = f"{name}.starts", _traced(f"{name}.starts", lambda key: kernel.starts(start, key, chains), key)
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), many)
    if _form(one) != _form(state):
        raise InputError(f"{made}: gives another form of state than init: {_shown(one)}, not {_shown(state)}")


def state_names(state: Any) -> list[str]:
    """The names under which the parts of a state are stored."""
    paths = [path for path, _ in jax.tree.leaves_with_path(state)]
    return [jax.tree_util.keystr(path, simple=True, separator=".") for path in paths]


def _require_storable(name: str, state: Any) -> None:
    for entry, leaf in zip(state_names(state), jax.tree.leaves(state), strict=True):
        if entry in _NOT_IN_STATES or "/" in entry:
            raise InputError(f"{name}.init: the state has a part {entry!r}, which must have another name to be stored")
        if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
            raise InputError(f"{name}.init: the state's {entry} is a key, which is not stored; keep its data")


def _form(tree: Any) -> Any:
    return jax.tree.structure(tree), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]


def _shown(tree: Any) -> str:
    leaves = zip(state_names(tree), jax.tree.leaves(tree), strict=True)
    return ", ".join(f"{name} {leaf.dtype}{list(leaf.shape)}" for name, leaf in leaves)


def _traced(what: str, function: Any, *arguments: Any) -> Any:
    return traced(f"{what}: cannot be traced by JAX", function, *arguments)


def _require(what: str, found: Any, shape: tuple[int, ...], kind: Any) -> None:
    if not isinstance(found, jax.ShapeDtypeStruct):
        raise InputError(f"{what}: is missing, or is not an array")
    if found.shape != shape or not jnp.issubdtype(found.dtype, kind):
        raise InputError(f"{what}: must be {kind.__name__} of shape {shape}, got {found.dtype} of shape {found.shape}")
