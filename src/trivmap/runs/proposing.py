"""New configurations of the map of a run."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from trivmap._types import Key
from trivmap.errors import InputError
from trivmap.runs.pipeline import load_certified
from trivmap.runs.plan import Plan
from trivmap.samplers import IndependenceMetropolis, Proposal
from trivmap.simulation import default_batch
from trivmap.store.directory import RunDirectory
from trivmap.streams import proposal_key


class Configurations(NamedTuple):
    """Independent configurations drawn from a map, and log w = -S - log q of each."""

    fields: Float[Array, "n *lattice"]
    log_weights: Float[Array, " n"]


def draw(run: RunDirectory, plan: Plan, key: Key, n: int) -> Configurations:
    """`n` independent whole configurations of the trained map of a run; the first are the same for every n.

    Args:
        run: the run, which must have its map.
        plan: its plan.
        key: the key of the random numbers.
        n: the number of configurations.

    Raises:
        InputError: for n below 1, a run without a trained map, and a continuous map whose integration error is not
            measured or too large.
    """
    if n < 1:
        raise InputError(f"sample: n must be at least 1, got {n}")
    flow, _ = load_certified(run, plan)
    made = _propose(IndependenceMetropolis(flow, plan.target), key, n)
    return Configurations(made.field, made.log_weight)


@eqx.filter_jit
def _propose(kernel: IndependenceMetropolis, key: Key, n: int) -> Proposal:
    size = min(n, kernel.micro_batch or default_batch(kernel.lattice.volume))
    return jax.lax.map(
        lambda i: kernel.propose(proposal_key(key, 0, i)), jnp.arange(n, dtype=jnp.uint32), batch_size=size
    )
