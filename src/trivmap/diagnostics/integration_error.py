"""The error of log-weights from numerical integration of a continuous flow, and the steps that make it negligible."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from trivmap._types import Field, Key
from trivmap.actions import AbstractAction
from trivmap.flows import Flow
from trivmap.streams import proposal_key, proposal_keys

LIMIT = 0.01
"""Limit below which mean and spread must stay."""
CANDIDATES = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
BATCH = 256
"""Configurations that are evaluated by one call of the compiled program."""

Measure = Callable[[Field], Mapping[str, Array]]


class Certificate(NamedTuple):
    """Mean and standard deviation over configurations of log w (at `steps`) - log w (at twice the steps), same noise.

    The mean shifts log Z by about its negative; the spread changes decisions of the accept test.
    `passed` is true if both are below `LIMIT`.
    """

    steps: int
    mean: float
    spread: float
    configurations: int

    @property
    def passed(self) -> bool:
        return abs(self.mean) < LIMIT and self.spread < LIMIT


class Level(NamedTuple):
    """Configurations integrated in one number of steps: their log-weights, shape (n,), and measurements (n, ...)."""

    steps: int
    log_weight: np.ndarray
    observables: dict[str, np.ndarray]

    def first(self, count: int) -> "Level":
        """The first `count` configurations."""
        return Level(self.steps, self.log_weight[:count], {k: v[:count] for k, v in self.observables.items()})


class Levels:
    """The same configurations of a flow (the same noise) at any number of integration steps.

    Configuration i is proposal i of chain 0 of this key, and depends on nothing else. One program is compiled for all
    numbers of steps; nothing is evaluated twice.

    Args:
        flow: a flow that relies on numerical integration.
        action: S, compared with log q; sites that it has integrated out are drawn before anything is measured.
        key: the noise.
        measure: observables of one whole configuration, by name; None for log-weights alone.
        batch: another way to evaluate: `batch(steps, first)` returns log-weights and measurements of `size`
            configurations, beginning with configuration `first`.
        size: configurations of such a batch.
    """

    def __init__(
        self,
        flow: Flow,
        action: AbstractAction,
        key: Key,
        measure: Measure | None = None,
        *,
        batch: "Callable[[int, int], tuple[Array, Mapping[str, Array]]] | None" = None,
        size: int = BATCH,
    ):
        self._flow, self._action, self._key, self._measure = flow, action, key, measure
        self._evaluated, self._size = batch or self._own_batch, size
        self._batches: dict[tuple[int, int], Any] = {}

    def at(self, steps: int, configurations: int) -> Level:
        """The first `configurations` configurations, integrated in `steps` steps."""
        parts = [self._batch(steps, number) for number in range(-(-configurations // self._size))]
        log_weight, observables = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        return Level(steps, log_weight, observables).first(configurations)

    def _batch(self, steps: int, number: int) -> Any:
        if (steps, number) not in self._batches:
            log_weight, observables = self._evaluated(steps, number * self._size)
            self._batches[steps, number] = jax.tree.map(np.asarray, (log_weight, dict(observables)))
        return self._batches[steps, number]

    def _own_batch(self, steps: int, first: int) -> tuple[Array, Mapping[str, Array]]:
        indices = jnp.arange(first, first + self._size, dtype=jnp.uint32)
        keys = jax.vmap(lambda i: proposal_key(self._key, 0, i))(indices)
        return _evaluate(self._flow, self._action, self._measure, keys, jnp.asarray(steps, jnp.int32))


def certificate(
    flow: Flow,
    action: AbstractAction,
    key: Key,
    *,
    steps: int | None = None,
    configurations: int = BATCH,
    levels: Levels | None = None,
) -> Certificate | None:
    """Measure the integration error of a flow on fresh configurations; None for a flow whose density is exact.

    It is for `steps` steps if given; otherwise for the fewest of `CANDIDATES` that pass, or the largest if none passes.
    Halving the step divides the error of a method of order p by 2^p, so the error that remains at twice the steps is a
    small part of the difference. `levels` are those of the flow, if the caller also uses them elsewhere.
    """
    if flow.integration_steps is None:
        return None
    levels = levels or Levels(flow, action, key)
    found = None
    for n in CANDIDATES if steps is None else (steps,):
        coarse, fine = (levels.at(k, configurations).log_weight for k in (n, 2 * n))
        difference = coarse - fine
        found = Certificate(n, float(difference.mean()), float(difference.std()), configurations)
        if found.passed:
            break
    return found


@eqx.filter_jit
def _evaluate(flow: Flow, action: AbstractAction, measure: Measure | None, keys: Array, steps: Int[Array, ""]) -> Any:
    # One program for every number of steps: it is a runtime argument, and not part of the flow outside the program.
    stepped = flow.with_integration_steps(steps)

    def one(key: Key) -> Any:
        noise, _, rest = proposal_keys(key)
        field, log_density = stepped.push(stepped.noise(noise))
        log_weight = -action(field) - log_density
        return log_weight, {} if measure is None else dict(measure(action.sample_conditional(rest, field)))

    return jax.lax.map(one, keys, batch_size=flow.micro_batch)
