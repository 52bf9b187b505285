"""Random parameters for the tests of maps."""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

Tree = TypeVar("Tree")


def filled(make: Callable[[], Tree], scale: float = 0.3, seed: int = 2) -> Tree:
    """What `make` builds, with normal numbers of that scale for all parameters; it is traced, never compiled."""
    rng = np.random.default_rng(seed)
    shapes, static = eqx.partition(eqx.filter_eval_shape(make), lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    arrays = jax.tree.map(lambda leaf: jnp.asarray((scale * rng.normal(size=leaf.shape)).astype(leaf.dtype)), shapes)
    return eqx.combine(arrays, static)
