"""Schedules: functions from the training step to a learning rate, a temperature, a batch size."""

from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from trivmap._types import Scalar
from trivmap.arguments import Bounds, Count, Index, Positive, Ratio, bounded
from trivmap.errors import InputError

Step = Int[Array, ""] | int
Schedule = Callable[[Step], Scalar | float]
"""A quantity of training as a function of the step."""


@bounded
def constant_rate(peak: Positive, warmup: Index = 0) -> Schedule:
    """One learning rate throughout.

    Args:
        peak: the learning rate, for example 1.0e-3
        warmup: steps in which it rises linearly
    """
    return _warmed(optax.constant_schedule(peak), peak, warmup)


@bounded
def cosine_rate(peak: Positive, steps: int, warmup: Index = 0, final: Ratio = 0.0) -> Schedule:
    """A linear rise, then half a cosine down to the end of the training.

    Args:
        peak: the largest learning rate, for example 1.0e-3
        steps: the steps of the training.
        warmup: steps in which it rises linearly
        final: the learning rate at the last step, in units of the largest
    """
    return _warmed(optax.cosine_decay_schedule(peak, max(1, steps - warmup), final), peak, warmup)


@bounded
def restarts_rate(
    peak: Positive,
    steps: int,
    warmup: Index = 0,
    final: Ratio = 0.0,
    *,
    period: Count,
    period_factor: Annotated[float, Bounds(least=1)] = 1.0,
    decay: Annotated[float, Bounds(above=0, most=1)] = 1.0,
) -> Schedule:
    """Cosines that restart (arXiv:1608.03983).

    Args:
        peak: the largest learning rate of the first cosine, for example 1.0e-3
        steps: the steps of the training.
        warmup: steps in which it rises linearly
        final: the learning rate at the end of each cosine, in units of its largest
        period: the number of steps of the first cosine, for example 500
        period_factor: the factor by which each cosine is longer than the one before
        decay: the factor between its largest learning rate and that of the one before
    """
    cycles, ends, end, height, length = [], [], 0, peak, float(period)
    while end < max(1, steps - warmup):
        cycles.append(optax.cosine_decay_schedule(height, max(1, round(length)), final))
        end += max(1, round(length))
        ends.append(end)
        height, length = height * decay, length * period_factor
    return _warmed(optax.join_schedules(cycles, ends[:-1]), peak, warmup)


def temperature_schedule(start: float, steps: int, shape: str = "linear") -> Schedule:
    """T from `start` to 1 within `steps` steps, then 1: `linear`, `geometric` or `cosine`.

    The target is exp(-S/T). Raises `InputError` for a start that is not positive, or an unknown shape.
    """
    if not start > 0:
        raise InputError(f"temperature.start: must be positive, got {start}")
    shapes: dict[str, Callable[[Scalar], Scalar]] = {
        "linear": lambda progress: start + (1.0 - start) * progress,
        "geometric": lambda progress: start ** (1.0 - progress),
        "cosine": lambda progress: 1.0 + (start - 1.0) * 0.5 * (1.0 + jnp.cos(jnp.pi * progress)),
    }
    if shape not in shapes:
        raise InputError(f"temperature.schedule: {shape!r} is unknown; choose one of {', '.join(shapes)}")

    def schedule(step: Step) -> Scalar:
        progress = jnp.clip(jnp.asarray(step, jnp.float32) / max(1, steps), 0.0, 1.0)
        # Exactly 1 at the end: rounding in the formula must not change the temperature of the target.
        return jnp.where(progress >= 1.0, 1.0, shapes[shape](progress)).astype(jnp.float32)

    return schedule


class Phase(NamedTuple):
    """A phase of training at one batch size."""

    steps: int
    batch: int


def phase_at(phases: Sequence[Phase], step: int) -> tuple[Phase, int]:
    """The phase that the next step belongs to, and the step at which it ends."""
    end = 0
    for phase in phases:
        end += phase.steps
        if step < end:
            return phase, end
    raise ValueError(f"step {step} lies beyond the last phase, which ends at {end}")


def _warmed(schedule: Schedule, peak: float, warmup: int) -> Schedule:
    if warmup == 0:
        return schedule
    # The rise starts at peak / warmup instead of 0, so that no step is wasted.
    rise = optax.linear_schedule(peak / warmup, peak, max(1, warmup - 1))
    return optax.join_schedules([rise, schedule], [warmup])
