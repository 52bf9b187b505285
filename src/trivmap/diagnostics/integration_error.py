"""How far numerical integration moves the log-weights of a continuous flow, and how many steps make that negligible."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from trivmap._types import Key
from trivmap.actions import AbstractAction
from trivmap.flows import Flow

LIMIT = 0.01
"""What mean and spread must stay below."""
CANDIDATES = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


class Certificate(NamedTuple):
    """Mean and standard deviation over configurations of log w (at `steps`) - log w (at twice the steps), same noise.

    The mean is an error of log Z that no number of samples removes; the spread changes decisions of the accept test.
    `passed` says that both lie below `LIMIT`.
    """

    steps: int
    mean: float
    spread: float
    configurations: int

    @property
    def passed(self) -> bool:
        return abs(self.mean) < LIMIT and self.spread < LIMIT


def certificate(
    flow: Flow, action: AbstractAction, key: Key, *, steps: int | None = None, configurations: int = 256
) -> Certificate | None:
    """Measure the integration error of a flow on fresh configurations; None for a flow whose density is exact.

    With `steps` for that number of them; else for the fewest of `CANDIDATES` that pass, and for the largest if none
    does. Halving the step divides the error of a method of order p by 2^p, so that what twice the steps still miss is
    a small part of the difference.
    """
    if flow.integration_steps is None:
        return None
    keys = jax.random.split(key, configurations)
    known: dict[int, np.ndarray] = {}
    found = None
    for n in CANDIDATES if steps is None else (steps,):
        for k in (n, 2 * n):
            if k not in known:
                known[k] = np.asarray(_log_weights(flow, action, keys, jnp.asarray(k, jnp.int32)), np.float64)
        difference = known[n] - known[2 * n]
        found = Certificate(n, float(difference.mean()), float(difference.std()), configurations)
        if found.passed:
            break
    return found


@eqx.filter_jit
def _log_weights(flow: Flow, action: AbstractAction, keys: Array, steps: Int[Array, ""]) -> Float[Array, " batch"]:
    # One program for every number of steps: known only when it runs, they are no part of the flow outside of it.
    stepped = flow.with_integration_steps(steps)
    return jax.lax.map(lambda key: -stepped.residual(action, stepped.noise(key)), keys, batch_size=flow.micro_batch)
