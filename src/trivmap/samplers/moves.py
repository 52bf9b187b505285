"""Moves between two steps of annealing: each leaves exp(-U_s) of a path exactly invariant."""

import abc
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from trivmap._types import Field, Key, Scalar, draw_normal, site_sum
from trivmap.actions.site_density import SiteDensity
from trivmap.bijections.checkerboard import merge, split
from trivmap.errors import InputError
from trivmap.samplers.independence import draw_log_uniform
from trivmap.samplers.integrators import LEAPFROG, Evaluation, Integrator
from trivmap.samplers.integrators import Point as PhasePoint
from trivmap.samplers.paths import AbstractPath, HoppingExpansionPath


class Point(NamedTuple):
    """A configuration on a path, with D and the gradients there, so that nothing is computed twice."""

    x: Field
    residual: Scalar
    gradients: tuple[Field, Field] | None
    """The gradients of U_0 and of D; None if no move needs them."""


def point(path: AbstractPath, x: Field, gradients: bool) -> Point:
    """The point at x: D, and the gradients if requested."""
    if not gradients:
        return Point(x, path.residual(x), None)
    residual, of_residual = jax.value_and_grad(path.residual)(x)
    return Point(x, residual, (jax.grad(path.start_potential)(x), of_residual))


class AbstractMove(eqx.Module):
    """A Markov kernel with exp(-U_s) as its stationary distribution, for one configuration.

    To add one: write `__call__`; with `backward` it is the time-reversed kernel, which is the same kernel if detailed
    balance holds.
    """

    @property
    @abc.abstractmethod
    def gradients(self) -> bool:
        """True if points need gradients."""

    @abc.abstractmethod
    def __call__(
        self, key: Key, path: AbstractPath, s: Scalar, at: Point, *, backward: bool = False
    ) -> tuple[Point, Scalar]:
        """The configuration after the move, and the accepted fraction."""

    def check(self, path: AbstractPath) -> None:
        """Raise `InputError` if the move does not work on the path."""


class Hamiltonian(AbstractMove):
    """One trajectory of `steps` integration steps with fresh momenta of unit mass, and its Metropolis test.

    One step of the leapfrog is Langevin dynamics made exact (arXiv:1206.1901). A step costs one evaluation of D and its
    gradient per stage of the integrator. Detailed balance holds.

    Raises `InputError` unless the step size is positive and finite, and `steps` at least 1.
    """

    step_size: Float[Array, ""]
    steps: int = eqx.field(static=True)
    integrator: Integrator = eqx.field(static=True)

    def __init__(self, step_size: float, steps: int = 5, *, integrator: Integrator = LEAPFROG):
        if not 0 < step_size < math.inf:
            raise InputError(f"annealing: step_size must be positive and finite, got {step_size:g}")
        if steps < 1:
            raise InputError(f"annealing: steps of a trajectory must be at least 1, got {steps}")
        self.step_size, self.steps, self.integrator = jnp.asarray(step_size, float), steps, integrator

    @property
    def gradients(self) -> bool:
        return True

    def __call__(
        self, key: Key, path: AbstractPath, s: Scalar, at: Point, *, backward: bool = False
    ) -> tuple[Point, Scalar]:
        momentum_key, accept_key = jax.random.split(key)
        dtype = at.x.dtype
        strength, step_size = s.astype(dtype), self.step_size.astype(dtype)

        def force(here: Point) -> Evaluation:
            assert here.gradients is not None
            of_start, of_residual = here.gradients
            # The next move needs D and its gradient at the end, so they take the places of the energy and the field.
            return Evaluation(-(of_start + strength * of_residual), here.residual, of_residual)

        momentum = draw_normal(momentum_key, at.x.shape, dtype)
        begin = PhasePoint(at.x, momentum, force(at))
        end = self.integrator.integrate(
            lambda x: force(point(path, x, True)), lambda p: p, begin, step_size, self.steps
        )
        x, (_, residual, of_residual) = end.position, end.evaluation
        assert residual is not None and of_residual is not None
        delta_h = (
            (path.start_potential(x) - path.start_potential(at.x))
            + s.astype(residual.dtype) * (residual - at.residual)
            + 0.5 * site_sum(end.momentum**2 - momentum**2)
        )
        accepted = (draw_log_uniform(accept_key, delta_h.dtype) < -delta_h) & jnp.isfinite(delta_h)
        proposed = Point(x, residual, (jax.grad(path.start_potential)(x), of_residual))
        moved = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), proposed, at)
        return moved, accepted.astype(s.dtype)


class AbstractSweep(AbstractMove):
    """`sweeps` sweeps of single sites given their neighbors, first all even and then all odd ones; backward odd first.

    It works only along a `HoppingExpansionPath`, whose sites have a `SiteDensity`.

    Raises `InputError` for fewer than one sweep, on another path, or if an extent is odd.
    """

    sweeps: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if self.sweeps < 1:
            raise InputError(f"annealing: sweeps must be at least 1, got {self.sweeps}")

    @abc.abstractmethod
    def update(self, key: Key, site: SiteDensity, h: Array, phi: Array) -> tuple[Array, Array]:
        """(phi', whether it is accepted) for sites of one color; the update is in detailed balance with p(phi | h)."""

    @property
    def gradients(self) -> bool:
        return False

    def check(self, path: AbstractPath) -> None:
        if not isinstance(path, HoppingExpansionPath):
            raise InputError(
                f"annealing: {type(self).__name__} works only on a HoppingExpansionPath; elsewhere move by Hamiltonian"
            )
        path.lattice.require_checkerboard()

    def __call__(
        self, key: Key, path: AbstractPath, s: Scalar, at: Point, *, backward: bool = False
    ) -> tuple[Point, Scalar]:
        assert isinstance(path, HoppingExpansionPath)

        def half_sweep(number: Array, state: tuple[Field, Scalar]) -> tuple[Field, Scalar]:
            x, moved = state
            even_turn = number % 2 == (1 if backward else 0)
            even, odd = split(path.lattice, x)
            h = jnp.where(even_turn, *split(path.lattice, path.source(x, s)))
            new, accepted = self.update(jax.random.fold_in(key, number), path.site, h, jnp.where(even_turn, even, odd))
            x = merge(path.lattice, jnp.where(even_turn, new, even), jnp.where(even_turn, odd, new))
            return x, moved + jnp.mean(accepted, dtype=moved.dtype)

        x, moved = jax.lax.fori_loop(0, 2 * self.sweeps, half_sweep, (at.x, jnp.zeros_like(s)))
        return point(path, x, at.gradients is not None), moved / (2 * self.sweeps)


class HeatBath(AbstractSweep):
    """Every site is drawn from its exact conditional density by rejection, which takes as long as the slowest site."""

    def update(self, key: Key, site: SiteDensity, h: Array, phi: Array) -> tuple[Array, Array]:
        return site.sample(key, h), jnp.ones(h.shape, bool)


class SiteMetropolis(AbstractSweep):
    """One proposal per site from the normal density above its conditional one, and a Metropolis test.

    It is nearly a heat bath if the envelope is tight, at a fixed and lower cost.
    """

    def update(self, key: Key, site: SiteDensity, h: Array, phi: Array) -> tuple[Array, Array]:
        return site.update(key, h, phi)
