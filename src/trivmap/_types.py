"""The named array types, and the one rule about precision that every sum over sites obeys."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Key = PRNGKeyArray
Scalar = Float[Array, ""]
Field = Float[Array, "*lattice"]
"""One configuration, of shape `lattice.shape`; batches come from `jax.vmap`."""


def site_sum(values: Float[Array, "..."]) -> Scalar:
    """Sum over all entries, accumulated in float64 wherever the process has it enabled.

    Log-weights are differences of extensive sums; at 64^2 sites a float32 accumulation would cost them digits.
    """
    return jnp.sum(values, dtype=jax.dtypes.canonicalize_dtype(jnp.float64))
