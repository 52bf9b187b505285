"""Hybrid (Hamiltonian) Monte Carlo."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer
from numpy.typing import ArrayLike

from trivmap._types import Field, Key, Scalar
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.samplers.independence import draw_log_uniform
from trivmap.samplers.integrators import INTEGRATORS, LEAPFROG, Evaluation, Integrator, Point
from trivmap.samplers.kernel import AbstractKernel
from trivmap.samplers.kinetic import AbstractKinetic, UnitMass
from trivmap.samplers.potentials import AbstractPotential, start_positions
from trivmap.spaces import AbstractSpace

_MOST_STEPS = 4096
_LEAST_ACCEPTED = 50


class HMCState(NamedTuple):
    """The position of a chain, with U, -dU/dz and the physical field there, which the next trajectory needs."""

    position: Field
    field: Field
    force: Field
    energy: Scalar


class HMCInfo(NamedTuple):
    """The outcome of a trajectory: H(end) - H(start), and whether its end was accepted."""

    accepted: Bool[Array, ""]
    delta_h: Scalar


class HMC(AbstractKernel):
    """Transition kernel with exp(-U(z)) as its stationary distribution (Phys. Lett. B 195, 216 (1987)).

    In each step fresh momenta are drawn, and Hamilton's equations are integrated over a random length, uniform in
    [1/2, 3/2] of `trajectory_length` (rounded to whole steps), so that no mode can stay in phase with it. The end is
    accepted with probability min(1, exp(-dH)), decided as log u < -dH; if dH is not finite, the trajectory is rejected.
    A trajectory of n steps costs n evaluations of the force per stage of the integrator, one U and one field.

    Raises `InputError` unless step size and trajectory length are positive and finite.
    """

    potential: AbstractPotential
    kinetic: AbstractKinetic
    step_size: Float[Array, ""]
    integrator: Integrator = eqx.field(static=True)
    trajectory_length: float = eqx.field(static=True)

    def __init__(
        self,
        potential: AbstractPotential,
        *,
        step_size: float,
        trajectory_length: float = 1.0,
        integrator: Integrator = LEAPFROG,
        kinetic: AbstractKinetic | None = None,
    ):
        for name, value in (("step_size", step_size), ("trajectory_length", trajectory_length)):
            if not 0 < value < math.inf:
                raise InputError(f"sampling.{name}: must be positive and finite, got {value:g}")
        self.potential, self.integrator = potential, integrator
        self.kinetic = UnitMass(potential.lattice, potential.dtype) if kinetic is None else kinetic
        self.step_size = jnp.asarray(step_size, potential.dtype)
        self.trajectory_length = float(trajectory_length)

    @property
    def lattice(self) -> Lattice:
        return self.potential.lattice

    @property
    def space(self) -> AbstractSpace:
        return self.potential.space

    def init(self, key: Key) -> HMCState:
        """A start from noise."""
        return self.at(self.potential.noise(key))

    def at(self, position: Field) -> HMCState:
        """The state of a chain at a given position: a configuration, or the noise of a `FlowPotential`."""
        evaluation = self.potential.evaluate(position)
        energy, field = self.potential.finish(position, evaluation)
        return HMCState(position, field, evaluation.force, energy)

    def starts(self, kind: str, key: Key, chains: int) -> HMCState:
        """The states at `samplers.start_positions`."""
        return jax.vmap(self.at)(start_positions(self.potential, kind, key, chains))

    def shared(self, key: Key) -> Integer[Array, ""]:
        """A random number of integration steps, at least 1."""
        mean = self.trajectory_length / self.step_size
        steps = jnp.floor(mean * jax.random.uniform(key, dtype=mean.dtype, minval=0.5, maxval=1.5) + 0.5)
        return jnp.clip(steps, 1, _MOST_STEPS).astype(jnp.int32)

    def step(
        self, key: Key, state: HMCState, shared: int | Integer[Array, ""] | None = None
    ) -> tuple[HMCState, HMCInfo]:
        """One trajectory.

        Its number of integration steps is drawn from the key unless given as `shared`. Batched by `jax.vmap`, give one
        number for all chains (`in_axes=(0, 0, None)`): chains of different lengths would all take the time of the
        longest. It is independent of the chains, which therefore stay uncorrelated.
        """
        momentum_key, accept_key, length_key = jax.random.split(key, 3)
        steps = self.shared(length_key) if shared is None else shared
        momentum = self.kinetic.momentum(momentum_key, self.potential.space)
        end = self._integrate(state, momentum, steps)
        energy, field = self.potential.finish(end.position, end.evaluation)
        # Potential and kinetic energies are subtracted separately, since each difference is smaller than the energies.
        delta_h = (energy - state.energy) + (self.kinetic.energy(end.momentum) - self.kinetic.energy(momentum))
        accepted = (draw_log_uniform(accept_key, delta_h.dtype) < -delta_h) & jnp.isfinite(delta_h)
        proposed = HMCState(end.position, field, end.evaluation.force, energy)
        new = jax.tree.map(lambda there, here: jnp.where(accepted, there, here), proposed, state)
        new = new._replace(field=self.potential.sample_conditional(jax.random.fold_in(key, 3), new.field))
        return new, HMCInfo(accepted, delta_h)

    def valid(self, state: HMCState) -> Bool[Array, ""]:
        return jnp.isfinite(state.energy)

    def acceptance(self, info: HMCInfo) -> Float[Array, ""]:
        return jnp.minimum(1, exp_minus_delta_h(info.delta_h))

    def record(self, info: HMCInfo) -> dict[str, Array]:
        return {"exp_minus_delta_h": exp_minus_delta_h(info.delta_h)}

    def facts(self) -> dict[str, Any]:
        """Integrator, kinetic energy, length and mean steps of a trajectory."""
        names = [name for name, known in INTEGRATORS.items() if known == self.integrator]
        return {
            "integrator": names[0] if names else "custom",
            "kinetic": type(self.kinetic).__name__,
            "trajectory_length": self.trajectory_length,
            "mean_steps": max(1, math.floor(self.trajectory_length / float(self.step_size) + 0.5)),
        }

    def check(self, key: Key, state: HMCState, shared: Integer[Array, ""] | None = None) -> Mapping[str, Array]:
        return {"irreversibility": self.irreversibility(key, state, shared)}

    def irreversibility(self, key: Key, state: HMCState, steps: int | Integer[Array, ""] | None = None) -> Scalar:
        """max_x |z' - z| / max_x |z(end) - z|, with z' the end of the trajectory that runs back from reversed momenta.

        In a reversible integrator it is pure rounding, about 1e-6 in float32. It grows if the trajectories are
        unstable.
        """
        momentum_key, _, length_key = jax.random.split(key, 3)
        steps = self.shared(length_key) if steps is None else steps
        end = self._integrate(state, self.kinetic.momentum(momentum_key, self.potential.space), steps)
        energy, field = self.potential.finish(end.position, end.evaluation)
        back = self._integrate(HMCState(end.position, field, end.evaluation.force, energy), -end.momentum, steps)
        apart = partial(self.potential.space.displacement, state.position)
        return jnp.max(jnp.abs(apart(back.position))) / jnp.max(jnp.abs(apart(end.position)))

    def _integrate(self, state: HMCState, momentum: Field, steps: int | Integer[Array, ""]) -> Point:
        # The evaluation at the start must have the form of those along the trajectory.
        known = jax.eval_shape(self.potential.evaluate, state.position)
        evaluation = Evaluation(
            state.force,
            None if known.energy is None else state.energy,
            None if known.field is None else state.field,
        )
        start = Point(state.position, momentum, evaluation)
        return self.integrator.integrate(
            self.potential.evaluate,
            self.kinetic.velocity,
            start,
            self.step_size,
            steps,
            self.potential.space.move,
        )


def exp_minus_delta_h(delta_h: Float[Array, "..."]) -> Float[Array, "..."]:
    """exp(-dH), 0 if dH is not finite: its mean over trajectories in equilibrium is 1."""
    return jnp.where(jnp.isfinite(delta_h), jnp.exp(-delta_h), jnp.zeros_like(delta_h))


def standstill(accepted: ArrayLike, exp_minus_delta_h: ArrayLike) -> str | None:
    """The reason why dH cannot be used to judge trajectories, from arrays over all chains; None if it can.

    A rejected trajectory with huge dH has exp(-dH) close to 0, in equilibrium or not, so accepted ones are counted.
    """
    moved, steps = int(np.sum(accepted)), np.size(accepted)
    if moved >= _LEAST_ACCEPTED or 2 * moved > steps:
        return None
    lost = int(np.sum(np.asarray(exp_minus_delta_h) == 0))
    return (
        f"{moved} of {steps} trajectories were accepted, {lost} had a dH that is infinite or nearly so; give a smaller "
        "step_size"
    )
