"""Compiling the contenders of one case and timing them in turn."""

import statistics
import time
from typing import Any, NamedTuple

import jax

from experiments.benchmarks.cases import Build, Case


class Timing(NamedTuple):
    """Seconds to trace and compile, and seconds per training step in each round."""

    compile_seconds: float
    step_seconds: list[float]

    def throughput(self, case: Case) -> float:
        """Median configurations per second."""
        return case.batch / statistics.median(self.step_seconds)


class _Runner:
    def __init__(self, case: Case, build: Build, steps: int):
        program = build(case, steps)
        self._x64, self._state, self._steps = program.x64, program.state, steps
        with jax.enable_x64(self._x64):
            begun = time.perf_counter()
            self._compiled = jax.jit(program.run, donate_argnums=0).lower(program.state).compile()
            self.compile_seconds = time.perf_counter() - begun

    def seconds_per_step(self) -> float:
        with jax.enable_x64(self._x64):
            begun = time.perf_counter()
            self._state: Any = jax.block_until_ready(self._compiled(self._state))
            return (time.perf_counter() - begun) / self._steps


def race(case: Case, contenders: dict[str, Build], steps: int, rounds: int) -> dict[str, Timing]:
    """Every contender takes `steps` steps in each of `rounds` rounds, so that all meet the same weather."""
    runners = {name: _Runner(case, build, steps) for name, build in contenders.items()}
    for runner in runners.values():
        runner.seconds_per_step()
    seconds = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            seconds[name].append(runner.seconds_per_step())
    return {name: Timing(runner.compile_seconds, seconds[name]) for name, runner in runners.items()}


def ratios(timings: dict[str, Timing], name: str, peers: list[str]) -> list[float]:
    """Per round: the step time of the fastest of `peers` (by median) over that of `name`."""
    best = min(peers, key=lambda peer: statistics.median(timings[peer].step_seconds))
    pairs = zip(timings[best].step_seconds, timings[name].step_seconds, strict=True)
    return [theirs / ours for theirs, ours in pairs]
