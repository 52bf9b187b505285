"""The rounding error of the log-weights of a flow."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from trivmap._types import Key
from trivmap.actions import AbstractAction
from trivmap.ahead import Program
from trivmap.flows import Flow, SteppedFlow


class Rounding(NamedTuple):
    """Mean and standard deviation of log w - (log w in float64) over configurations.

    The mean is an error of log Z that no number of samples removes; the spread changes decisions of the accept test.
    """

    mean: float
    spread: float


def rounding_of_log_weights(flow: Flow, action: AbstractAction, key: Key, configurations: int = 256) -> Rounding:
    """Compare log-weights with those of the same flow, at the same noise, computed in float64.

    It is zero for a float64 flow, and NaN if float64 is disabled in the process.
    """
    return RoundingMeasurement(action, jax.random.split(key, configurations)).measure(flow)


class RoundingMeasurement:
    """`rounding_of_log_weights` in two steps, for callers that can begin to compile early.

    Args:
        action: S.
        keys: the key of the noise of each configuration that is compared.
    """

    def __init__(self, action: AbstractAction, keys: Array):
        self._action, self._keys = action, keys
        self._own, self._exact = Program(_log_weights), Program(_log_weights)

    def begin(self, flow: Flow | SteppedFlow, *, known: bool = False) -> None:
        """Begin to compile, in the background, for flows of this form; `known`: the log-weights will be given."""
        if jnp.result_type(float) == jnp.float64:
            whole = flow.resolved()
            # A JAX operation would wait for the compilation.
            noise = np.zeros((len(self._keys), *whole.lattice.shape), whole.base.dtype)
            if not known:
                self._own.begin(flow, self._action, jnp.asarray(noise))
            self._exact.begin(flow.astype(jnp.float64), self._action, jnp.asarray(noise.astype(np.float64)))

    def measure(self, flow: Flow | SteppedFlow, known: ArrayLike | None = None) -> Rounding:
        """The rounding error; NaN if float64 is disabled in the process.

        `known`: the log-weights at this noise, computed elsewhere; without them the result is 0 for a float64 flow.
        """
        if jnp.result_type(float) != jnp.float64:
            return Rounding(float("nan"), float("nan"))
        noise = jax.vmap(flow.resolved().noise)(self._keys)
        own = np.asarray(self._own(flow, self._action, noise) if known is None else known, np.float64)
        exact = self._exact(flow.astype(jnp.float64), self._action, noise.astype(jnp.float64))
        difference = own - np.asarray(exact, np.float64)
        return Rounding(float(difference.mean()), float(difference.std()))


@eqx.filter_jit
def _log_weights(flow: Flow | SteppedFlow, action: AbstractAction, noise: jax.Array) -> jax.Array:
    return -jax.vmap(lambda z: flow.resolved().residual(action, z))(noise)
