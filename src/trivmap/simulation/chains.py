"""The contract of a driver that runs many Markov chains in parts: what a run pipeline needs of one."""

import abc
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array

from trivmap._types import Field

Measure = Callable[[Field], Mapping[str, Array]]
"""Observables of one configuration, by name."""

State = dict[str, np.ndarray]
"""Where the chains stand: plain arrays by name, so that it can be stored and resumed."""


class ChainPart(NamedTuple):
    """Steps `start` ... `start + n` of every chain, in order (a history of the kind "chain")."""

    accepted: np.ndarray
    """(chains, n), bool."""
    observables: dict[str, np.ndarray]
    """(chains, n, ...): of the chain's configuration after each step."""
    fields: np.ndarray | None
    """(chains, kept, *lattice): the configuration after every step whose index is divisible by `thin`, if saved."""


class AbstractChains(abc.ABC):
    """Many chains of one kernel.

    Step i of chain c depends only on (key, c, i) and the state before it: how the steps are cut into parts does not
    matter, to the last bit on one machine. Warm-up steps are run by `start` and not stored.
    """

    chains: int
    stride: int = 1
    """Steps of a chain that are computed together: fewer cost as much."""

    @abc.abstractmethod
    def start(self) -> State:
        """Initial configurations, after warm-up and adaptation; the same for the same key."""

    @abc.abstractmethod
    def part(
        self, state: State, start: int, stop: int, *, thin: int = 1, fields: bool = False
    ) -> tuple[ChainPart, State]:
        """Run steps `start` <= i < `stop` of every chain, from `state`."""

    @abc.abstractmethod
    def diagnostics(self, state: State) -> dict[str, Any]:
        """Facts about the sampler for the summary of a run: step size, reversibility, cluster sizes and the like."""
