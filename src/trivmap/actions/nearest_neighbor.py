"""Sums over nearest-neighbor links."""

import jax.numpy as jnp
from jaxtyping import Array

from trivmap._types import Field
from trivmap.errors import InputError


def require_dimension(field: Array, dimension: int) -> None:
    """Raise `InputError` unless the field is one real configuration in `dimension` dimensions, not a batch of them."""
    if not jnp.issubdtype(field.dtype, jnp.floating):
        raise InputError(f"action: takes a real floating-point field, got {field.dtype}")
    if field.ndim != dimension:
        raise InputError(
            f"action: takes one configuration of {dimension} dimensions, got an array of shape {field.shape}; "
            "batches need jax.vmap"
        )


def forward_neighbors(field: Field) -> Field:
    """sum_mu phi(x + mu) at every site, periodic."""
    total = jnp.roll(field, -1, axis=0)
    for axis in range(1, field.ndim):
        total = total + jnp.roll(field, -1, axis=axis)
    return total


def all_neighbors(field: Field) -> Field:
    """sum_mu [phi(x + mu) + phi(x - mu)] at every site, periodic."""
    total = forward_neighbors(field)
    for axis in range(field.ndim):
        total = total + jnp.roll(field, 1, axis=axis)
    return total
