"""The contract of an objective, checked by tracing: a user's own objective is checked before a run begins."""

from typing import Any, get_args

import equinox as eqx
import jax
import jax.numpy as jnp

from trivmap.actions import AbstractAction
from trivmap.errors import InputError, shown
from trivmap.flows import Flow
from trivmap.objectives.objective import AbstractObjective, Draws, Kind
from trivmap.tracing import traced

_BATCH = 3


def require_objective(objective: AbstractObjective, flow: Flow, action: AbstractAction) -> None:
    """Raise `InputError` if an objective does not return what training needs; nothing is computed.

    Args:
        objective: the objective.
        flow: the flow, or its shapes.
        action: the target of the training.
    """
    name, kinds = type(objective).__name__, get_args(Kind)
    draws = objective.draws
    if not isinstance(draws, (set, frozenset)) or not draws or not draws <= set(kinds):
        raise InputError(f"objective: {name}.draws must be a set of {' and '.join(kinds)}, got {shown(draws)}")
    arrays, static = eqx.partition(flow, lambda leaf: isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct)))
    fields = jax.ShapeDtypeStruct((_BATCH, *flow.lattice.shape), jnp.dtype(flow.base.dtype))
    given = {kind: fields for kind in kinds if kind in draws}

    def evaluated(arrays: Any, given: Any) -> Any:
        return objective(eqx.combine(arrays, static), action, Draws(**given), jnp.float32(1))

    # optax and training allow mixed precision.
    with jax.numpy_dtype_promotion("standard"):
        found = traced(f"objective: {name} cannot be traced by JAX", evaluated, arrays, given)
    wanted = f"objective: {name} must return (surrogate, residuals), a real number and one for each configuration"
    if not isinstance(found, tuple) or len(found) != 2:
        raise InputError(f"{wanted}; got {type(found).__name__}")
    forms = [getattr(each, "shape", None) for each in found]
    if forms != [(), (_BATCH,)] or not all(jnp.issubdtype(each.dtype, jnp.floating) for each in found):
        got = ", ".join(f"{each.dtype}{list(each.shape)}" for each in found)
        raise InputError(f"{wanted}; for a batch of {_BATCH} got {got}")
