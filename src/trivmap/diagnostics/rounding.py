"""How far rounding moves the log-weights of a flow."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from trivmap._types import Key
from trivmap.actions import AbstractAction
from trivmap.ahead import compiling
from trivmap.flows import Flow


class Rounding(NamedTuple):
    """Mean and standard deviation of log w - (log w in float64) over configurations.

    The mean is an error of log Z that no number of samples removes; the spread changes decisions of the accept test.
    """

    mean: float
    spread: float


def rounding_of_log_weights(flow: Flow, action: AbstractAction, key: Key, configurations: int = 256) -> Rounding:
    """Compare log-weights with those of the same flow, at the same noise, computed in float64.

    Zero for a float64 flow, NaN where the process has no float64 to compare with.
    """
    return measuring_rounding(flow, action, key, configurations)()


def measuring_rounding(
    flow: Flow, action: AbstractAction, key: Key, configurations: int = 256
) -> Callable[[], Rounding]:
    """`rounding_of_log_weights` in two steps: this one begins to compile, the call of its result measures."""
    if jnp.result_type(float) != jnp.float64:
        return lambda: Rounding(float("nan"), float("nan"))
    noise = jax.vmap(flow.noise)(jax.random.split(key, configurations))
    wide = flow.astype(jnp.float64)
    calls = ((flow, action, noise), (wide, action, noise.astype(jnp.float64)))
    programs = compiling(*((_log_weights, call) for call in calls))

    def measure() -> Rounding:
        pairs = zip(programs, calls, strict=True)
        own, exact = (np.asarray(program.result()(*call), np.float64) for program, call in pairs)
        return Rounding(float((own - exact).mean()), float((own - exact).std()))

    return measure


@eqx.filter_jit
def _log_weights(flow: Flow, action: AbstractAction, noise: jax.Array) -> jax.Array:
    return -jax.vmap(lambda z: flow.residual(action, z))(noise)
