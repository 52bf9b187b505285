"""What the sampling step of a run draws from: a source of steps, whatever the sampler behind it."""

import abc
from collections.abc import Callable
from typing import Any

import numpy as np

from trivmap.runs.certified import Certified
from trivmap.store.samples import SampleReader

State = dict[str, np.ndarray]
"""Where the chains stand, as it is stored with every part."""


class AbstractSource(abc.ABC):
    """A sampler of a run: stored step by step, and resumed from the state stored with the last part."""

    history: str
    """What entry i of a measurement is, "proposals" or "chain": see `trivmap.observables.History`."""
    stride: int = 1
    """Steps of a chain that are computed together: fewer cost as much."""
    certified: Certified | None = None
    """The flow that it samples through, if any."""
    attributes: dict[str, Any]
    """What identifies its samples beyond the card's common keys: a resumed run must agree in all of it."""

    @abc.abstractmethod
    def prepare(self, restored: State | None) -> None:
        """Called once before anything is drawn: warm-up, where nothing is stored yet."""

    def keep(self) -> None:
        """Write down what was measured before sampling; called once the stored samples are found to agree."""
        if self.certified is not None:
            self.certified.keep()

    @property
    def noted(self) -> dict[str, Any] | None:
        """The certificate of the flow, where there is one and it needs one."""
        return None if self.certified is None else self.certified.noted

    @abc.abstractmethod
    def part(self, start: int, stop: int, done: Callable[[int], None]) -> dict[str, Any]:
        """Steps `start` <= i < `stop` of every chain, as `SampleWriter.append` takes them, its `state` included.

        `done(n)` is called now and then with the number of steps drawn so far, all chains together; it may raise.
        """

    @abc.abstractmethod
    def outcome(self, reader: SampleReader) -> tuple[dict[str, Any], dict[str, Any] | None, dict[str, str]]:
        """What the summary says of sampling, log Z, and reasons to trust neither by name."""
