"""The sampler of a run: the driver that draws, and what judges what it has drawn."""

from collections.abc import Callable
from typing import Any, NamedTuple

from trivmap.runs.integration_check import IntegrationErrorCheck
from trivmap.simulation import AbstractDriver, State
from trivmap.store.samples import SampleReader


class Outcome(NamedTuple):
    """The entries of the summary about the samples."""

    sampling: dict[str, Any]
    log_z: dict[str, Any] | None
    reasons: dict[str, str]
    """Reasons to distrust a number, by its name."""


class Sampler(NamedTuple):
    """A driver with what a run has to know about it.

    `begin` starts to compile, in the background, what drawing and judging need. `settle` comes before anything is drawn
    and gives the attributes that identify the samples beyond those that all samplers share: a resumed run must agree in
    all of them. `judge` is given the samples and the last state of the driver. `certified` is the flow that it samples
    through, if any.
    """

    driver: AbstractDriver
    begin: Callable[[], None]
    settle: Callable[[], dict[str, Any]]
    judge: Callable[[SampleReader, State], Outcome]
    certified: IntegrationErrorCheck | None = None
