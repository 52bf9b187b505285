"""Timing of compiled functions in turn, so that all meet the same weather on the machine."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax


class Seconds(NamedTuple):
    """What one call costs: on the clock, and of the processors. What else runs on the machine hardly moves the latter.

    Medians over the rounds.
    """

    wall: float
    processor: float


def in_turn(calls: Mapping[str, Callable[[], Any]], *, rounds: int, least: float = 0.05) -> dict[str, list[Seconds]]:
    """Seconds per call in every round; a turn repeats its call until it lasts about `least` seconds."""
    repeats = {}
    for name, call in calls.items():
        jax.block_until_ready(call())
        begun = time.process_time()
        jax.block_until_ready(call())
        repeats[name] = max(1, round(least / max(1e-6, time.process_time() - begun)))
    measured: dict[str, list[Seconds]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            wall, processor = time.perf_counter(), time.process_time()
            for _ in range(repeats[name]):
                jax.block_until_ready(call())
            turn = time.perf_counter() - wall, time.process_time() - processor
            measured[name].append(Seconds(*(seconds / repeats[name] for seconds in turn)))
    return measured


def medians(turns: list[Seconds]) -> Seconds:
    """Median over the rounds."""
    return Seconds(*(statistics.median(values) for values in zip(*turns, strict=True)))


def ratio(turns: Mapping[str, list[Seconds]], slow: str, fast: str, clock: str = "wall") -> float:
    """Median over rounds of the seconds of `slow` over those of `fast`."""
    pairs = zip(turns[slow], turns[fast], strict=True)
    return statistics.median(getattr(s, clock) / getattr(f, clock) for s, f in pairs)
