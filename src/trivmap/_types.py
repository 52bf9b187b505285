"""The named array types, and the common functions for sums and draws over sites."""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

AnyModule = TypeVar("AnyModule", bound=eqx.Module)
Key = PRNGKeyArray
Scalar = Float[Array, ""]
Field = Float[Array, "*lattice"]
"""One configuration, in the shape of its space; batches come from `jax.vmap`."""
Component = Float[Array, "*sites"]
"""One real number at every site, of shape `lattice.shape`."""


def site_sum(values: Float[Array, "..."]) -> Scalar:
    """Sum over all entries, accumulated in float64 if the process has it enabled.

    Log-weights are differences of extensive sums; at 64^2 sites a float32 accumulation would cost them digits.
    """
    return jnp.sum(values, dtype=jax.dtypes.canonicalize_dtype(jnp.float64))


def draw_normal(key: Key, shape: Sequence[int], dtype: DTypeLike) -> Float[Array, "..."]:
    """The numbers of `jax.random.normal`, drawn along one axis: on a CPU, XLA compiles several axes for seconds."""
    return jax.random.normal(key, (math.prod(shape),), jnp.dtype(dtype)).reshape(shape)


def draw_uniform(key: Key, shape: Sequence[int], dtype: DTypeLike) -> Float[Array, "..."]:
    """The numbers of `jax.random.uniform`, drawn along one axis as in `draw_normal`."""
    return jax.random.uniform(key, (math.prod(shape),), jnp.dtype(dtype)).reshape(shape)


def changed(module: AnyModule, **fields: Any) -> AnyModule:
    """The module with other values for some fields, including static ones; they are not checked."""
    new = object.__new__(type(module))
    for name, value in {**vars(module), **fields}.items():
        object.__setattr__(new, name, value)
    return new
