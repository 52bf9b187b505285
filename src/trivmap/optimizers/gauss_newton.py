"""Gauss-Newton: least squares on the residual log q + S of every sample, and its natural gradient of the KL."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from trivmap._types import Scalar
from trivmap.errors import InputError
from trivmap.optimizers.least_squares import Memory, projected, projected_gradient, recursive
from trivmap.optimizers.linearization import (
    Linearization,
    Pair,
    Residual,
    Vector,
    explicit,
    explicit_pair,
    matrix_free,
    matrix_free_pair,
    robust,
    shares,
)

Space = Literal["parameters", "samples", "matrix-free"]
Objective = Literal["variance", "kl"]

PARAMETER_SPACE_UP_TO = 1024
JACOBIAN_BYTES = 2**30
"""A larger Jacobian is never formed."""
_LINEARIZED: Mapping[tuple[bool, bool], Callable[..., Linearization]] = {
    (False, False): explicit,
    (False, True): matrix_free,
    (True, False): explicit_pair,
    (True, True): matrix_free_pair,
}
"""By whether the KL is minimized, and whether the Jacobian does not fit."""


class GaussNewtonState(eqx.Module):
    """Where the search stands: the last accepted point, what was learned about it, and how far to trust it."""

    anchor: Vector
    """The last accepted parameters; those being tried lie one step further."""
    spread: Scalar
    """Robust standard deviation of the residual at the anchor; infinite before the first step."""
    predicted: Scalar
    """That which the linear model expects at the parameters being tried."""
    level: Scalar
    """Mean of the clipped residual at the anchor: the KL up to log Z; infinite before the first step."""
    hoped: Scalar
    """What the model expects to gain of it at the parameters being tried; zero after a step on the variance."""
    damping: Scalar
    refused: Int[Array, ""]
    """Steps refused in a row."""
    memory: Memory
    """What earlier batches said (parameter space; else empty)."""
    step: Float[Array, " step"]
    """The step before (sample space; else empty)."""


class Info(eqx.Module):
    """What a step found: the residuals at the parameters tried, |J^T f / B|, and whether they were accepted."""

    residuals: Float[Array, " batch"]
    gradient_norm: Scalar
    accepted: Bool[Array, ""]


@dataclass(frozen=True)
class GaussNewton:
    """Minimizes the variance over z of the residual f(z) = log q + S at phi = T(z), by damped least squares.

    With J the derivatives of f in the parameters, both centered over the batch, a step solves
    (J^T J / B + damping D) delta = -J^T f / B, D = diag(J^T J / B): at the optimum J^T J / B is the Fisher matrix, so
    it is a natural gradient whose noise vanishes with the residual. The variance and the Kullback-Leibler divergence
    have the same optimum only where the map can reach the target. Residuals are clipped at `clip` robust standard
    deviations, against the heavy tails of the first steps.

    With `objective` "kl", or in the last `finish` steps of a training, the divergence KL(q || p) itself is minimized:
    J is that part of the derivatives that is left at fixed phi, so that J^T J / B is the Fisher matrix everywhere, and
    the right-hand side is minus the path gradient (arXiv:2206.09016), a configuration's share in it cut as its residual
    is clipped. A step that the model expects to change the divergence by more than `radius` nats is shortened to that.

    Every batch is new and serves twice: it judges the step before, and it is linearized for the next. The step is
    refused if the spread has grown by more than `tolerance` + 3 / sqrt(B); for the KL, if the mean of f has by more
    than `tolerance` spreads and three errors, or the spread has doubled. Then it is back to the anchor, damping times
    `increase`; otherwise damping times `decrease`, unless less than a quarter of the predicted gain came true. No
    configuration is spent on trials alone.

    Spaces: `parameters` (P x P) remembers the linear models of earlier batches, each weighted by 1 / variance and by
    `memory` per step: recursive least squares, which lets batches be smaller than the number of parameters; memory
    O(P^2 + B P). `samples` (B x B; arXiv:2302.01941) for P > B: O(B^2 + B P), with the step before projected in by
    `memory` as in arXiv:2401.10190. `matrix-free`: the same by conjugate gradients on products with J, never formed;
    O(B activations). By default the first where P <= max(B, 1024), the last where J exceeds a GiB. The KL keeps two
    matrices of the size of J.

    Raises `InputError` for settings out of range.
    """

    objective: Objective = "variance"
    finish: int = 0
    damping: float = 0.3
    damping_min: float = 1e-4
    increase: float = 4.0
    decrease: float = 0.4
    memory: float = 0.8
    clip: float = 3.0
    tolerance: float = 0.05
    radius: float = 1.0
    space: Space | None = None
    iterations: int = 30
    """Of the conjugate gradients."""
    micro_batch: int | None = None
    """Configurations linearized at once; by default as many as fit the caches."""

    def __post_init__(self):
        checks = {
            "objective": self.objective in ("variance", "kl"),
            "finish": self.finish == 0 or (self.finish > 0 and self.objective == "variance"),
            "damping": self.damping > 0,
            "damping_min": self.damping_min > 0,
            "increase": self.increase > 1,
            "decrease": 0 < self.decrease <= 1,
            "memory": 0 <= self.memory < 1,
            "clip": self.clip > 0,
            "tolerance": self.tolerance >= 0,
            "radius": self.radius > 0,
            "space": self.space in (None, "parameters", "samples", "matrix-free"),
            "iterations": self.iterations >= 1,
            "micro_batch": self.micro_batch is None or self.micro_batch >= 1,
        }
        for name, good in checks.items():
            if not good:
                raise InputError(f"optimizer.{name}: {getattr(self, name)} is out of range for gauss-newton")

    def chosen_space(self, parameters: int, batch: int) -> Space:
        """The space a step is solved in for P parameters and B configurations."""
        if self.space is not None:
            return self.space
        if parameters <= max(batch, PARAMETER_SPACE_UP_TO):
            return "parameters"
        return self._without_memory(parameters, batch)

    def _without_memory(self, parameters: int, batch: int) -> Space:
        if self.space in ("samples", "matrix-free"):
            return self.space
        return "samples" if 4 * parameters * batch <= JACOBIAN_BYTES else "matrix-free"

    def init(self, parameters: Vector, batch: int) -> GaussNewtonState:
        """The state before the first step."""
        wide = jax.dtypes.canonicalize_dtype(jnp.float64)
        size = parameters.size if self.chosen_space(parameters.size, batch) == "parameters" else 0
        return GaussNewtonState(
            anchor=parameters,
            spread=jnp.asarray(jnp.inf, wide),
            predicted=jnp.asarray(jnp.inf, wide),
            level=jnp.asarray(jnp.inf, wide),
            hoped=jnp.zeros((), wide),
            damping=jnp.asarray(self.damping, wide),
            refused=jnp.zeros((), jnp.int32),
            memory=Memory.empty(size),
            step=jnp.zeros_like(parameters) if size == 0 else jnp.zeros(0, parameters.dtype),
        )

    def step(
        self,
        residual: Residual | Pair,
        parameters: Vector,
        noise: Array,
        state: GaussNewtonState,
        ridge: Vector,
        objective: Objective | None = None,
    ) -> tuple[Vector, GaussNewtonState, Info]:
        """(parameters to try next, state, info) from the residuals of one batch of noise at `parameters`.

        `residual` is a `Pair` where the objective (by default the optimizer's own) is the KL. ridge . theta^2 is added
        to the variance, half of it to the KL, see `Flow.ridge`.
        """
        # A state made for another batch size has its memory, or has none.
        space = "parameters" if state.memory.target.size else self._without_memory(parameters.size, len(noise))
        kl = (objective or self.objective) == "kl"
        model = _LINEARIZED[kl, space == "matrix-free"](residual, parameters, noise, self.micro_batch)
        clipped, spread = robust(model.residuals, self.clip)
        # The median is not clipped, and `clipped` is about its own mean.
        level = (jnp.median(model.residuals) - jnp.median(clipped)).astype(spread.dtype)
        weighted = model.pull(clipped) if model.path is None else model.path(shares(model.residuals, self.clip))
        gradient = weighted / len(noise)
        finite = jnp.isfinite(spread) & jnp.all(jnp.isfinite(gradient)) & jnp.all(jnp.isfinite(parameters))
        # Of a perfect map only rounding is left, which rises and falls.
        rounding = 16 * jnp.finfo(spread.dtype).eps * jnp.max(jnp.abs(model.residuals))
        if kl:
            # By the anchor's spread: that of a step gone wrong would excuse it.
            error = (2 / len(noise)) ** 0.5 * state.spread
            good = level <= state.level + self.tolerance * state.spread + 3 * error + rounding
            good &= spread <= 2 * state.spread + rounding
            gains = state.hoped, state.level - level, 2 * error
        else:
            good = spread <= (1 + self.tolerance + 3 / len(noise) ** 0.5) * state.spread + rounding
            gained = state.spread**2 - spread**2
            gains = state.spread**2 - state.predicted**2, gained, 2 * state.spread**2 / len(noise) ** 0.5
        accepted = finite & good
        state = self._judged(state, parameters, spread, level, accepted, *gains)
        if space == "parameters":
            memory, trial = recursive(
                state.memory,
                model,
                gradient,
                state.anchor,
                parameters,
                accepted,
                state.spread,
                state.damping,
                ridge,
                self.memory,
            )
        else:
            memory, iterations = state.memory, None if space == "samples" else self.iterations
            before = self.memory * state.step
            if kl:
                step = projected_gradient(model, gradient, before, parameters, state.damping, ridge, iterations)
            else:
                step = projected(model, clipped, before, parameters, state.damping, ridge, iterations)
            # The Jacobian at the anchor is gone: a refused step is shortened.
            trial = jnp.where(accepted, parameters + step, state.anchor + (parameters - state.anchor) / 4)
        hoped = jnp.zeros_like(state.hoped)
        if kl:
            trial, gain = self._within_radius(model, gradient, parameters, trial, accepted)
            hoped = jnp.where(accepted, gain, 0).astype(hoped.dtype)
        trial = jnp.where(jnp.all(jnp.isfinite(trial)), trial, state.anchor)
        expected = jnp.std(clipped + model.push(trial - parameters))
        state = eqx.tree_at(
            lambda s: (s.predicted, s.hoped, s.memory, s.step),
            state,
            (
                jnp.where(accepted, expected, state.spread),
                hoped,
                memory,
                jnp.where(accepted, trial - parameters, 0) if state.step.size else state.step,
            ),
        )
        return trial, state, Info(model.residuals, jnp.linalg.norm(gradient), accepted)

    def _within_radius(
        self, model: Linearization, gradient: Vector, parameters: Vector, trial: Vector, accepted: Bool[Array, ""]
    ) -> tuple[Vector, Scalar]:
        """The trial, nearer if it is too far for the quadratic model, and the KL that the model expects to gain by it.

        KL(theta) - KL(theta + delta) = a - b / 2 with a = -gradient . delta, b = |J delta|^2 / B.
        """
        step = trial - parameters
        a, b = -jnp.dot(gradient, step), jnp.mean(model.push(step) ** 2).astype(step.dtype)
        far = jnp.maximum(jnp.abs(a), b) / 2
        scale = jnp.where(accepted & (far > self.radius), self.radius / far, 1.0).astype(step.dtype)
        return jnp.where(accepted, parameters + scale * step, trial), scale * a - scale**2 * b / 2

    def _judged(
        self,
        state: GaussNewtonState,
        parameters: Vector,
        spread: Scalar,
        level: Scalar,
        accepted: Bool[Array, ""],
        hoped: Scalar,
        found: Scalar,
        noise: Scalar,
    ) -> GaussNewtonState:
        """The state with anchor and damping moved by what became of the step before."""
        poor = jnp.isfinite(state.spread) & (found < 0.25 * hoped) & (hoped > noise)
        factor = jnp.where(accepted, jnp.where(poor, 1.0, self.decrease), self.increase)
        return GaussNewtonState(
            anchor=jnp.where(accepted, parameters, state.anchor),
            spread=jnp.where(accepted, spread, state.spread),
            predicted=state.predicted,
            level=jnp.where(accepted, level, state.level),
            hoped=state.hoped,
            damping=jnp.clip(state.damping * factor, self.damping_min, 1e6),
            refused=jnp.where(accepted, 0, state.refused + 1),
            memory=state.memory,
            step=state.step,
        )
