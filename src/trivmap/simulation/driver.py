"""The contract of a driver: many chains of one kernel, run in parts."""

import abc
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array

from trivmap._types import Field

Measure = Callable[[Field], Mapping[str, Array]]
"""Observables of one configuration, by name."""

State = dict[str, np.ndarray]
"""The state of the chains: plain arrays by name, so that it can be stored and resumed."""


Done = Callable[[int], None]
"""A callback with the number of steps so far, all chains together; it may raise."""


def unheard(steps: int) -> None:
    """A `Done` that does nothing."""


class Part(NamedTuple):
    """Steps `start` ... `start + n` of every chain, in order."""

    accepted: np.ndarray
    """(chains, n), bool."""
    observables: dict[str, np.ndarray]
    """(chains, n, ...): measurements of the chain's configuration after each step, or of each proposal (`history`)."""
    fields: np.ndarray | None
    """(chains, kept, *lattice): the configuration after every step whose index is divisible by `thin`, if saved."""
    log_weight: np.ndarray | None = None
    """(chains, n): the log-weight of each proposal, if proposals are independent."""


class AbstractDriver(abc.ABC):
    """Many chains of one kernel.

    Step i of chain c depends only on (key, c, i) and the state before it: the division of steps into parts does not
    matter. `start` runs the warm-up steps, which are not stored.
    """

    history: str = "chain"
    """The meaning of entry i of a measurement: the chain after step i ("chain"), or proposal i ("proposals")."""
    chains: int
    stride: int = 1
    """Steps of a chain that are computed together: fewer steps cost as much."""

    def begin(self) -> None:  # noqa: B027 (nothing to do by default)
        """Begin to compile, in the background; without this call, the first part compiles."""

    @abc.abstractmethod
    def start(self) -> State:
        """Initial configurations, after warm-up and adaptation; the same for the same key."""

    @abc.abstractmethod
    def part(
        self, state: State, start: int, stop: int, *, thin: int | None = None, done: Done = unheard
    ) -> tuple[Part, State]:
        """Run steps `start` <= i < `stop` of every chain, from `state`.

        With `thin` None no configurations are saved; `done` is called from time to time.
        """

    @abc.abstractmethod
    def diagnostics(self, state: State) -> dict[str, Any]:
        """Facts about the sampler for the summary of a run: step size, reversibility, cluster sizes and the like."""
