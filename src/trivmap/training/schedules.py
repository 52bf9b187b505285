"""Schedules: functions from the training step to a learning rate, a temperature, a batch size."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from trivmap._types import Scalar
from trivmap.errors import InputError

Step = Int[Array, ""] | int
Schedule = Callable[[Step], Scalar | float]


def constant_rate(peak: float, warmup: int = 0) -> Schedule:
    """`peak`, reached linearly from 0 within `warmup` steps."""
    return _warmed(optax.constant_schedule(peak), peak, warmup)


def cosine_rate(peak: float, steps: int, warmup: int = 0, final: float = 0.0) -> Schedule:
    """Half a cosine from `peak` after the warm-up to `final` * peak at step `steps`."""
    return _warmed(optax.cosine_decay_schedule(peak, max(1, steps - warmup), final), peak, warmup)


def restarts_rate(
    peak: float,
    steps: int,
    period: int,
    warmup: int = 0,
    final: float = 0.0,
    period_factor: float = 1.0,
    decay: float = 1.0,
) -> Schedule:
    """Cosines with warm restarts (arXiv:1608.03983): each `period_factor` times longer and `decay` times lower."""
    if period < 1 or period_factor < 1:
        raise InputError("learning_rate: restarts need period >= 1 and period_factor >= 1")
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
        # Exactly 1 at the end: the target must not miss its temperature by a rounding of the formula.
        return jnp.where(progress >= 1.0, 1.0, shapes[shape](progress)).astype(jnp.float32)

    return schedule


class Phase(NamedTuple):
    """A stretch of training at one batch size."""

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
    # Starting at peak / warmup instead of 0 wastes no step.
    rise = optax.linear_schedule(peak / warmup, peak, max(1, warmup - 1))
    return optax.join_schedules([rise, schedule], [warmup])
