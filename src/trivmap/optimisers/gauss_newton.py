"""Gauss-Newton: least squares on the residual log q + S of every sample."""

from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from trivmap._types import Scalar
from trivmap.errors import InputError
from trivmap.optimisers.least_squares import Memory, projected, recursive
from trivmap.optimisers.linearisation import Residual, Vector, explicit, matrix_free, robust

Space = Literal["parameters", "samples", "matrix-free"]

PARAMETER_SPACE_UP_TO = 1024
JACOBIAN_BYTES = 2**30
"""A larger Jacobian is never formed."""


class GaussNewtonState(eqx.Module):
    """Where the search stands: the last accepted point, what was learned about it, and how far to trust it."""

    anchor: Vector
    """The last accepted parameters; those being tried lie one step further."""
    spread: Scalar
    """Robust standard deviation of the residual at the anchor; infinite before the first step."""
    predicted: Scalar
    """That which the linear model expects at the parameters being tried."""
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
    """Minimises the variance over z of the residual f(z) = log q + S at phi = T(z), by damped least squares.

    With J the derivatives of f in the parameters, both centred over the batch, a step solves
    (J^T J / B + damping D) delta = -J^T f / B, D = diag(J^T J / B): at the optimum J^T J / B is the Fisher matrix, so
    it is a natural gradient whose noise vanishes with the residual. The variance and the Kullback-Leibler divergence
    have the same optimum only where the map can reach the target. Residuals are clipped at `clip` robust standard
    deviations, against the heavy tails of the first steps.

    Every batch is new and serves twice: it judges the step before (refused if the spread has grown by more than
    `tolerance` + 3 / sqrt(B): back to the anchor, damping times `increase`; accepted otherwise, damping times
    `decrease` unless less than a quarter of the predicted gain came true), and it is linearised for the next. No
    configuration is spent on trials alone.

    Spaces: `parameters` (P x P) remembers the linear models of earlier batches, each weighted by 1 / variance and by
    `memory` per step: recursive least squares, which lets batches be smaller than the number of parameters; memory
    O(P^2 + B P). `samples` (B x B; arXiv:2302.01941) for P > B: O(B^2 + B P), with the step before projected in by
    `memory` as in arXiv:2401.10190. `matrix-free`: the same by conjugate gradients on products with J, never formed;
    O(B activations). By default the first where P <= max(B, 1024), the last where J exceeds a GiB.

    Raises `InputError` for settings out of range.
    """

    damping: float = 0.3
    damping_min: float = 1e-4
    increase: float = 4.0
    decrease: float = 0.4
    memory: float = 0.8
    clip: float = 3.0
    tolerance: float = 0.05
    space: Space | None = None
    iterations: int = 30
    """Of the conjugate gradients."""
    micro_batch: int | None = None
    """Configurations linearised at once; by default as many as fit the caches."""

    def __post_init__(self):
        checks = {
            "damping": self.damping > 0,
            "damping_min": self.damping_min > 0,
            "increase": self.increase > 1,
            "decrease": 0 < self.decrease <= 1,
            "memory": 0 <= self.memory < 1,
            "clip": self.clip > 0,
            "tolerance": self.tolerance >= 0,
            "space": self.space in (None, "parameters", "samples", "matrix-free"),
            "iterations": self.iterations >= 1,
            "micro_batch": self.micro_batch is None or self.micro_batch >= 1,
        }
        for name, good in checks.items():
            if not good:
                raise InputError(f"optimiser.{name}: {getattr(self, name)} is out of range for gauss-newton")

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
            damping=jnp.asarray(self.damping, wide),
            refused=jnp.zeros((), jnp.int32),
            memory=Memory.empty(size),
            step=jnp.zeros_like(parameters) if size == 0 else jnp.zeros(0, parameters.dtype),
        )

    def step(
        self, residual: Residual, parameters: Vector, noise: Array, state: GaussNewtonState, ridge: Vector
    ) -> tuple[Vector, GaussNewtonState, Info]:
        """(parameters to try next, state, info) from the residuals of one batch of noise at `parameters`.

        ridge . theta^2 is added to the variance, see `Flow.ridge`.
        """
        # A state made for another batch size has its memory, or has none.
        space = "parameters" if state.memory.target.size else self._without_memory(parameters.size, len(noise))
        model = (matrix_free if space == "matrix-free" else explicit)(residual, parameters, noise, self.micro_batch)
        clipped, spread = robust(model.residuals, self.clip)
        gradient = model.pull(clipped) / len(noise)
        finite = jnp.isfinite(spread) & jnp.all(jnp.isfinite(gradient)) & jnp.all(jnp.isfinite(parameters))
        # Of a perfect map only rounding is left, which rises and falls.
        rounding = 16 * jnp.finfo(spread.dtype).eps * jnp.max(jnp.abs(model.residuals))
        accepted = finite & (spread <= (1 + self.tolerance + 3 / len(noise) ** 0.5) * state.spread + rounding)
        state = self._judged(state, parameters, spread, accepted, len(noise))
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
            step = projected(model, clipped, before, parameters, state.damping, ridge, iterations)
            # The Jacobian at the anchor is gone: a refused step is shortened.
            trial = jnp.where(accepted, parameters + step, state.anchor + (parameters - state.anchor) / 4)
        trial = jnp.where(jnp.all(jnp.isfinite(trial)), trial, state.anchor)
        expected = jnp.std(clipped + model.push(trial - parameters))
        state = eqx.tree_at(
            lambda s: (s.predicted, s.memory, s.step),
            state,
            (
                jnp.where(accepted, expected, state.spread),
                memory,
                jnp.where(accepted, trial - parameters, 0) if state.step.size else state.step,
            ),
        )
        return trial, state, Info(model.residuals, jnp.linalg.norm(gradient), accepted)

    def _judged(
        self, state: GaussNewtonState, parameters: Vector, spread: Scalar, accepted: Bool[Array, ""], batch: int
    ) -> GaussNewtonState:
        """The state with anchor and damping moved by what became of the step before."""
        hoped, found = state.spread**2 - state.predicted**2, state.spread**2 - spread**2
        noise = 2 * state.spread**2 / batch**0.5
        poor = jnp.isfinite(state.spread) & (found < 0.25 * hoped) & (hoped > noise)
        factor = jnp.where(accepted, jnp.where(poor, 1.0, self.decrease), self.increase)
        return GaussNewtonState(
            anchor=jnp.where(accepted, parameters, state.anchor),
            spread=jnp.where(accepted, spread, state.spread),
            predicted=state.predicted,
            damping=jnp.clip(state.damping * factor, self.damping_min, 1e6),
            refused=jnp.where(accepted, 0, state.refused + 1),
            memory=state.memory,
            step=state.step,
        )
