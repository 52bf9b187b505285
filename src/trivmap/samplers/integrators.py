"""Symplectic integrators of Hamilton's equations, H = K(p) + U(z)."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Integer

from trivmap._types import Field, Scalar


class Evaluation(NamedTuple):
    """The force -dU/dz at a position, with U and the field if they come at no extra cost, otherwise None."""

    force: Field
    energy: Scalar | None = None
    field: Field | None = None


class Point(NamedTuple):
    """A point of phase space, and the evaluation at its position."""

    position: Field
    momentum: Field
    evaluation: Evaluation


@dataclass(frozen=True)
class Integrator:
    """Alternating kicks p += b eps F(z) and drifts z += a eps dK/dp of a time-reversible splitting of second order.

    One step is the kick `first`, then the stages (a, b) in order. The last kick is twice `first`, as one half belongs
    to the next step. A step costs one evaluation of the force per stage, since the next step reuses the last
    evaluation.
    """

    first: float
    stages: tuple[tuple[float, float], ...]

    def integrate(
        self,
        evaluate: Callable[[Field], Evaluation],
        velocity: Callable[[Field], Field],
        point: Point,
        step_size: Scalar,
        steps: int | Integer[Array, ""],
        move: Callable[[Field, Field], Field] = operator.add,
    ) -> Point:
        """The point after `steps` steps.

        Args:
            evaluate: the force at a position.
            velocity: dK/dp.
            point: the beginning of the trajectory.
            step_size: the length of a step.
            steps: their number, at least 1. It may be traced. Batched by `jax.vmap`, it should be the same for all
                chains; otherwise each waits for the longest.
            move: the function that moves a position along a tangent, see `AbstractSpace.move`.
        """
        count = len(self.stages)
        drifts, kicks = (jnp.asarray(np.array(c), step_size.dtype) * step_size for c in zip(*self.stages, strict=True))
        edge = jnp.asarray(self.first, step_size.dtype) * step_size
        last = steps * count - 1

        def stage(index: Array, point: Point) -> Point:
            here = index % count
            position = move(point.position, drifts[here] * velocity(point.momentum))
            evaluation = evaluate(position)
            kick = jnp.where(index == last, edge, kicks[here])
            return Point(position, point.momentum + kick * evaluation.force, evaluation)

        begun = point._replace(momentum=point.momentum + edge * point.evaluation.force)
        return jax.lax.fori_loop(0, last + 1, stage, begun)


LEAPFROG = Integrator(0.5, ((1.0, 1.0),))
"""Velocity Verlet: one evaluation per step."""

_LAMBDA = 0.1931833275037836
OMELYAN = Integrator(_LAMBDA, ((0.5, 1 - 2 * _LAMBDA), (0.5, 2 * _LAMBDA)))
"""Omelyan's second-order minimum-norm integrator (hep-lat/0505020): two evaluations per step, and an error of dH about
a tenth of the leapfrog's at equal step size."""

INTEGRATORS: Mapping[str, Integrator] = {"leapfrog": LEAPFROG, "omelyan": OMELYAN}
"""The integrators by their names in cards."""
