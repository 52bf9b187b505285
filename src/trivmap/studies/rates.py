"""The time of a step of each sampler, measured side by side in one process."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from trivmap.estimate import Estimate
from trivmap.observables.measure import measure_order
from trivmap.runs.plan import Plan
from trivmap.runs.progress import Progress, shown
from trivmap.runs.samplers import build_sampler
from trivmap.store.directory import RunDirectory
from trivmap.store.sample_parts import read_state
from trivmap.store.samples import SampleReader


class Rate(NamedTuple):
    """Seconds of one step of one chain: the median of the `rounds` with its error.

    All chains run together, so that a step of `chains` chains takes `chains` times this. `first_seconds` is the time of
    the first call, which compiles.
    """

    seconds_per_step: Estimate
    rounds: list[float]
    steps_per_round: int
    first_seconds: float


class TimedSampler:
    """Continues the chains of a run without storing them, and measures only the order parameter."""

    def __init__(self, run: RunDirectory, plan: Plan):
        section = plan.card.sampling.model_copy(update={"save_fields": False})
        self.chains = section.chains
        sampler = build_sampler(run, plan.changed(sampling=section), eqx.Partial(measure_order, plan.action))
        sampler.settle()
        self._driver = sampler.driver
        with SampleReader(run.root) as reader:
            self._state, self._position = read_state(reader.parts[-1].path), reader.n
        self._state.pop("seconds", None)
        self.stride = self._driver.stride

    def steps(self, count: int) -> None:
        """Run `count` steps of every chain."""
        _, self._state = self._driver.part(self._state, self._position, self._position + count)
        self._position += count


def measure_rates(
    timed: Mapping[str, Any],
    *,
    rounds: int,
    seconds: float,
    progress: Progress,
    check: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Rate]:
    """The rate of every sampler (each like a `TimedSampler`), from rounds with one turn of each after another.

    A turn has as many steps as take `seconds`, a number that is determined first. A varying load therefore affects all
    samplers alike. `check` is called between turns and may raise.
    """

    def turn(sampler: Any, count: int) -> float:
        check()
        begun = clock()
        sampler.steps(count)
        return clock() - begun

    first, counts = {}, {}
    found: dict[str, list[float]] = {name: [] for name in timed}
    with shown(progress, "time", (rounds + 1) * len(timed)):
        for number, (name, sampler) in enumerate(timed.items()):
            first[name], count = turn(sampler, sampler.stride), sampler.stride
            while (taken := turn(sampler, count)) < seconds / 3:
                count *= 2
            counts[name] = max(1, round(count * seconds / taken / sampler.stride)) * sampler.stride
            progress.update(number + 1)
        for number in range(rounds):
            for place, (name, sampler) in enumerate(timed.items()):
                found[name].append(turn(sampler, counts[name]) / (counts[name] * sampler.chains))
                progress.update((number + 1) * len(timed) + place + 1)
    return {name: Rate(_median(found[name]), found[name], counts[name], first[name]) for name in timed}


def _median(values: list[float]) -> Estimate:
    """The median, and its error from the median absolute deviation, as for normal numbers."""
    middle = float(np.median(values))
    deviation = 1.4826 * float(np.median(np.abs(np.array(values) - middle)))
    return Estimate(middle, math.sqrt(math.pi / 2) * deviation / math.sqrt(len(values)))
