"""The two colors of a checkerboard as dense half-lattices, without gathers."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from trivmap._types import Field
from trivmap.lattice import Lattice

Half = Float[Array, "*half"]
"""The sites of one color, shape (L_1, ..., L_d / 2): every second site along the last axis."""


def _odd_rows(lattice: Lattice) -> Bool[np.ndarray, "*rows 1"]:
    """True if x_1 + ... + x_{d-1} is odd, in which case the even site of a pair is the second one."""
    return np.asarray(np.indices(lattice.shape[:-1]).sum(axis=0) % 2 == 1)[..., None]


def half_shape(lattice: Lattice) -> tuple[int, ...]:
    """Shape of the array that holds one color."""
    return (*lattice.shape[:-1], lattice.shape[-1] // 2)


def split(lattice: Lattice, field: Field) -> tuple[Half, Half]:
    """The even and the odd sites of a field, by selecting from strided slices, which XLA fuses, unlike gathers."""
    pairs = field.reshape(*half_shape(lattice), 2)
    first, second = pairs[..., 0], pairs[..., 1]
    odd_rows = jnp.broadcast_to(_odd_rows(lattice), first.shape)
    return jnp.where(odd_rows, second, first), jnp.where(odd_rows, first, second)


def merge(lattice: Lattice, even: Half, odd: Half) -> Field:
    """The field with the given even and odd sites: the inverse of `split`."""
    odd_rows = jnp.broadcast_to(_odd_rows(lattice), even.shape)
    pairs = jnp.stack([jnp.where(odd_rows, odd, even), jnp.where(odd_rows, even, odd)], axis=-1)
    return pairs.reshape(lattice.shape)


def embed(lattice: Lattice, half: Half, color: int) -> Field:
    """The field that is `half` on the sites of a color (0 even, 1 odd) and zero on the others."""
    empty = jnp.zeros_like(half)
    return merge(lattice, *((half, empty) if color == 0 else (empty, half)))


def pick(lattice: Lattice, field: Float[Array, "*lattice channels"], color: int) -> Float[Array, "channels *half"]:
    """The channels of a field on the sites of a color (0 even, 1 odd)."""
    pairs = field.reshape(*half_shape(lattice), 2, field.shape[-1])
    first, second = (pairs[..., 0, :], pairs[..., 1, :]) if color == 0 else (pairs[..., 1, :], pairs[..., 0, :])
    odd_rows = jnp.broadcast_to(_odd_rows(lattice)[..., None], first.shape)
    return jnp.moveaxis(jnp.where(odd_rows, second, first), -1, 0)
