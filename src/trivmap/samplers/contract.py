"""What a kernel must do, seen by tracing: a kernel of the user's own is looked at before a run begins."""

from typing import Any

import jax
import jax.numpy as jnp

from trivmap.errors import InputError
from trivmap.samplers.independence import AbstractIndependence
from trivmap.samplers.kernel import AbstractKernel


def require_contract(kernel: AbstractKernel) -> None:
    """Raise `InputError` where a step of a kernel does not give what a driver needs; nothing is computed."""
    name, key = type(kernel).__name__, jax.eval_shape(jax.random.key, 0)
    if isinstance(kernel, AbstractIndependence):
        made = _traced(f"{name}.propose", kernel.propose, key)
        _require_field(name, made, kernel.lattice.shape)
        for entry in ("log_weight", "log_uniform"):
            _require(f"{name}.propose: {entry}", getattr(made, entry, None), (), jnp.floating)
        return
    state = _traced(f"{name}.init", kernel.init, key)
    _require_field(name, state, kernel.lattice.shape)
    shared = _traced(f"{name}.shared", kernel.shared, key)
    stepped = _traced(f"{name}.step", kernel.step, key, state, shared)
    if not isinstance(stepped, tuple) or len(stepped) != 2 or hasattr(stepped, "field"):
        raise InputError(f"{name}.step: must return (state, info), got {type(stepped).__name__}")
    after, info = stepped
    forms = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(each)] for each in (state, after)]
    if jax.tree.structure(state) != jax.tree.structure(after) or forms[0] != forms[1]:
        raise InputError(f"{name}.step: returns a state of another form than init, {after}; it was {state}")
    _require(f"{name}.step: the info's accepted", getattr(info, "accepted", None), (), jnp.bool_)


def _traced(what: str, function: Any, *arguments: Any) -> Any:
    try:
        return jax.eval_shape(function, *arguments)
    except InputError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        raise InputError(f"{what}: cannot be traced by JAX ({type(error).__name__}: {said[:300]})") from error


def _require_field(name: str, holder: Any, shape: tuple[int, ...]) -> None:
    _require(f"{name}: the field", getattr(holder, "field", None), shape, jnp.floating)


def _require(what: str, found: Any, shape: tuple[int, ...], kind: Any) -> None:
    if not isinstance(found, jax.ShapeDtypeStruct):
        raise InputError(f"{what}: is missing, or is no array")
    if found.shape != shape or not jnp.issubdtype(found.dtype, kind):
        raise InputError(f"{what}: must be {kind.__name__} of shape {shape}, got {found.dtype} of shape {found.shape}")
