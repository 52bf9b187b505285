"""The arithmetic of a comparison: rates of independent samples, and where a trained sampler breaks even."""

import math
from typing import NamedTuple

from trivmap.estimate import Estimate

_CLEAR = 2.0
"""Errors by which two costs must differ before one is said to be the larger."""


class BreakEven(NamedTuple):
    """Whether and when a sampler with a large cost in advance overtakes another.

    `verdict`: "at" (from `samples` on it is the cheaper one), "never", "from the start" or "undecided" (the costs of a
    sample do not differ by two errors).
    """

    verdict: str
    samples: Estimate | None


def independent_per_second(tau_int: Estimate, seconds_per_step: Estimate) -> Estimate:
    """1 / (2 tau_int seconds_per_step): samples per second worth an independent one, all chains together."""
    cost = cost_of_one(tau_int, seconds_per_step)
    return Estimate(1 / cost.value, cost.error / cost.value**2)


def cost_of_one(tau_int: Estimate, seconds_per_step: Estimate) -> Estimate:
    """Seconds for a sample worth an independent one, 2 tau_int seconds_per_step."""
    value = 2 * tau_int.value * seconds_per_step.value
    return Estimate(value, value * math.hypot(_relative(tau_int), _relative(seconds_per_step)))


def break_even(own_start: float, own_cost: Estimate, other_start: float, other_cost: Estimate) -> BreakEven:
    """The number n of independent samples with own_start + n own_cost = other_start + n other_cost.

    `start`: seconds before the first sample (training, warm-up); `cost`: seconds for one. The error of n comes from
    those of the two costs, to first order.
    """
    gain = Estimate(other_cost.value - own_cost.value, math.hypot(own_cost.error, other_cost.error))
    advance = own_start - other_start
    if advance <= 0 and gain.value > 0:
        return BreakEven("from the start", None)
    if gain.value < -_CLEAR * gain.error or gain.value == gain.error == 0:
        return BreakEven("never", None)
    if gain.value <= _CLEAR * gain.error:
        return BreakEven("undecided", None)
    samples = advance / gain.value
    return BreakEven("at", Estimate(samples, samples * gain.error / gain.value))


def _relative(estimate: Estimate) -> float:
    return estimate.error / estimate.value
