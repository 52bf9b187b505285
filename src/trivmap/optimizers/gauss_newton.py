"""Gauss-Newton: least squares on the residual log q + S of every sample, and its natural gradient of the KL."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from trivmap._types import Scalar
from trivmap.arguments import Bounds, Count, Index, Positive, require_fields
from trivmap.errors import InputError
from trivmap.optimizers.gauss_newton_state import GaussNewtonState, Info
from trivmap.optimizers.least_squares import Memory, projected, projected_gradient, recursive
from trivmap.optimizers.linearization import (
    Linearization,
    Pair,
    Residual,
    Vector,
    clip_factors,
    explicit,
    explicit_pair,
    matrix_free,
    matrix_free_pair,
    robust,
    within_radius,
)
from trivmap.optimizers.optimizer import AbstractOptimizer, Problem, Taken
from trivmap.optimizers.packing import Vectors, pack, unpack

Space = Literal["parameters", "samples", "matrix-free"]
MOST_REFUSALS = 20
"""Number of successive refused steps, each with higher damping, after which training has failed."""

PARAMETER_SPACE_UP_TO = 1024
JACOBIAN_BYTES = 2**30
"""Largest Jacobian that is formed, in bytes."""
_LINEARIZED: Mapping[tuple[bool, bool], Callable[..., Linearization]] = {
    (False, False): explicit,
    (False, True): matrix_free,
    (True, False): explicit_pair,
    (True, True): matrix_free_pair,
}
"""The linearization, by whether the KL is minimized, and whether the Jacobian is too large to be formed."""


@dataclass(frozen=True)
class GaussNewton(AbstractOptimizer):
    """Minimizes the variance over z of the residual f(z) = log q + S at phi = T(z), by damped least squares.

    With J the derivatives of f in the parameters, both centered over the batch, a step solves
    (J^T J / B + damping D) delta = -J^T f / B, D = diag(J^T J / B): at the optimum J^T J / B is the Fisher matrix, so
    it is a natural gradient whose noise vanishes with the residual. The variance and the Kullback-Leibler divergence
    have the same optimum only if the map can reach the target. Residuals are clipped at `clip` robust standard
    deviations, against the heavy tails of the first steps.

    If the objective is a KL divergence, or in the last `finish` steps of a training, KL(q || p) itself is minimized.
    Then J is the part of the derivatives at fixed phi, so that J^T J / B is the Fisher matrix everywhere, and the
    right-hand side is minus the path gradient (arXiv:2206.09016), in which a configuration's share is reduced as its
    residual is clipped. A step that the model expects to change the divergence by more than `radius` nats is shortened
    to that.

    Every batch is new and is used twice: to judge the step before it, and for the linearization of the next step. The
    step is refused if the spread has grown by more than `tolerance` + 3 / sqrt(B); for the KL, if the mean of f has
    grown by more than `tolerance` spreads and three errors, or the spread has doubled. After a refusal the search
    returns to the last accepted parameters, and the damping is multiplied by `increase`; otherwise it is multiplied by
    `decrease`, unless the gain was less than a quarter of the prediction. No configuration is used for trials alone.

    Spaces: `parameters` (P x P) remembers the linear models of earlier batches, each weighted by 1 / variance and by
    `memory` per step: recursive least squares, which lets batches be smaller than the number of parameters; memory
    O(P^2 + B P). `samples` (B x B; arXiv:2302.01941) for P > B: O(B^2 + B P), with the step before projected in by
    `memory` as in arXiv:2401.10190. `matrix-free`: the same by conjugate gradients on products with J, never formed;
    O(B activations). By default the first is used if P <= max(B, 1024), the last if J exceeds a GiB. The KL keeps
    two matrices of the size of J.

    Args:
        finish: with the objective `variance`: the number of last steps that minimize the KL instead
        damping: at the first step, in units of the diagonal of J^T J / B
        damping_min: lower limit of the damping
        increase: factor on the damping after a refused step
        decrease: factor after an accepted one, unless it gained less than a quarter of what was predicted
        memory: weight of earlier batches, per step (`parameters`); share of the step before (`samples`, `matrix-free`);
            in [0, 1)
        clip: log q + S is clipped at this number of robust standard deviations from its median
        tolerance: a step is refused if the spread of log q + S grows by a fraction larger than this + 3 / sqrt(B)
        radius: on the KL: a step that is expected to change it by more nats is shortened to this change
        space: `parameters` (P x P), `samples` (B x B) or `matrix-free`; null: the first if P <= max(B, 1024), the last
            if J would take over 1 GiB, else the second
        iterations: conjugate gradients of a `matrix-free` step
        micro_batch: configurations linearized at once, not with `matrix-free`; null: as suits the backend

    Raises `InputError` for settings out of range.
    """

    finish: Index = 0
    damping: Positive = 0.3
    damping_min: Positive = 1e-4
    increase: Annotated[float, Bounds(above=1)] = 4.0
    decrease: Annotated[float, Bounds(above=0, most=1)] = 0.4
    memory: Annotated[float, Bounds(least=0, below=1)] = 0.8
    clip: Positive = 3.0
    tolerance: Annotated[float, Bounds(least=0)] = 0.05
    radius: Positive = 1.0
    space: Space | None = None
    iterations: Count = 30
    micro_batch: Count | None = None

    advice = "raise optimizer.damping, enlarge the batch, or begin with a first-order optimizer"
    judges_itself = True
    per_configuration = "jacobian"

    def __post_init__(self):
        require_fields(self)

    def begin(self, parameters: PyTree, batch: int, least_squares: str | None) -> GaussNewtonState:
        vectors = pack(parameters)
        if least_squares is None:
            raise InputError("gauss-newton minimizes the variance or the KL; choose such an objective, or adam")
        if self.finish and least_squares != "variance":
            raise InputError("finish: is for the objective variance, which the last steps replace; leave it out")
        if not vectors:
            raise InputError("gauss-newton has nothing to train, the model has no parameters")
        if len(vectors) != 1:
            raise InputError("gauss-newton needs all parameters in one precision")
        (vector,) = vectors.values()
        return self.init(vector, batch)

    def advance(
        self, problem: Problem, parameters: Vectors, state: GaussNewtonState
    ) -> tuple[Vectors, GaussNewtonState, Taken]:
        """A step whose residuals are not finite or have spread is refused; the next is closer to the last good one."""
        ((name, vector),) = parameters.items()
        noise, ridge = problem.draw().noise, pack(problem.l2_weights())[name]

        def unpacked(parameters: Vector) -> PyTree:
            return unpack({name: parameters}, problem.form)

        def step_on(objective: str | None) -> tuple[Vector, GaussNewtonState, Info]:
            function: Any = problem.pair if objective == "kl" else problem.residual
            return self.step(
                lambda parameters, z: function(unpacked(parameters), z), vector, noise, state, ridge, objective == "kl"
            )

        if self.finish:
            early = problem.step < problem.steps - self.finish
            moved, inner, info = jax.lax.cond(early, lambda: step_on("variance"), lambda: step_on("kl"))
        else:
            moved, inner, info = step_on(problem.least_squares)
        failed = problem.failed | (inner.refused >= MOST_REFUSALS)
        moved, inner = jax.tree.map(lambda yes, no: jnp.where(failed, no, yes), (moved, inner), (vector, state))
        return {name: moved}, inner, Taken(info.residuals, info.gradient_norm, jnp.nan, inner.damping, failed)

    def accepted(self, parameters: Any, state: GaussNewtonState) -> Any:
        """The last accepted parameters after a refusal, since those being tried are a guess."""
        last_accepted = {state.last_accepted.dtype.name: state.last_accepted}
        if isinstance(parameters, Mapping):
            return last_accepted
        earlier, refused = unpack(last_accepted, parameters), state.refused > 0
        return jax.tree.map(lambda a, p: jnp.where(refused, a, p), earlier, parameters)

    def workspace(self, parameters: int, batch: int, item: int) -> Mapping[str, int]:
        match self.chosen_space(parameters, batch):
            case "parameters":
                return {"model": 16 * parameters**2}
            case "samples":
                return {"batch": 8 * batch**2 + item * batch * parameters}
        return {}

    def arithmetic(self, parameters: int, batch: int) -> float:
        # A product of the derivatives with themselves, and the factorization of the result.
        size = parameters if self.chosen_space(parameters, batch) == "parameters" else batch
        return 2.0 * size * batch * parameters + size**3

    def chosen_space(self, parameters: int, batch: int) -> Space:
        """The space in which a step is solved for P parameters and B configurations."""
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
            last_accepted=parameters,
            spread=jnp.asarray(jnp.inf, wide),
            predicted=jnp.asarray(jnp.inf, wide),
            mean_residual=jnp.asarray(jnp.inf, wide),
            predicted_gain=jnp.zeros((), wide),
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
        kl: bool = False,
    ) -> tuple[Vector, GaussNewtonState, Info]:
        """(parameters to try next, state, info) from the residuals of one batch of noise at `parameters`.

        With `kl` the divergence is minimized, and `residual` is a `Pair`; otherwise the variance is. ridge . theta^2 is
        added to the variance, half of it to the KL, see `Flow.l2_weights`.
        """
        # A state that was made for another batch size keeps its choice: with or without memory.
        space = "parameters" if state.memory.target.size else self._without_memory(parameters.size, len(noise))
        model = _LINEARIZED[kl, space == "matrix-free"](residual, parameters, noise, self.micro_batch)
        clipped, spread = robust(model.residuals, self.clip)
        # The median is not clipped, and `clipped` is relative to its own mean.
        mean_residual = (jnp.median(model.residuals) - jnp.median(clipped)).astype(spread.dtype)
        weighted = model.pull(clipped) if model.path is None else model.path(clip_factors(model.residuals, self.clip))
        gradient = weighted / len(noise)
        finite = jnp.isfinite(spread) & jnp.all(jnp.isfinite(gradient)) & jnp.all(jnp.isfinite(parameters))
        # For a perfect map the residual is pure rounding noise.
        rounding = 16 * jnp.finfo(spread.dtype).eps * jnp.max(jnp.abs(model.residuals))
        if kl:
            # Uses the spread at the last accepted parameters: a bad step has a large spread, which would excuse it.
            error = (2 / len(noise)) ** 0.5 * state.spread
            good = mean_residual <= state.mean_residual + self.tolerance * state.spread + 3 * error + rounding
            good &= spread <= 2 * state.spread + rounding
            gains = state.predicted_gain, state.mean_residual - mean_residual, 2 * error
        else:
            good = spread <= (1 + self.tolerance + 3 / len(noise) ** 0.5) * state.spread + rounding
            gained = state.spread**2 - spread**2
            gains = state.spread**2 - state.predicted**2, gained, 2 * state.spread**2 / len(noise) ** 0.5
        accepted = finite & good
        state = self._judged(state, parameters, spread, mean_residual, accepted, *gains)
        if space == "parameters":
            memory, trial = recursive(
                state.memory,
                model,
                gradient,
                state.last_accepted,
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
            # The Jacobian at the last accepted parameters is not available any more, so a refused step is shortened.
            trial = jnp.where(accepted, parameters + step, state.last_accepted + (parameters - state.last_accepted) / 4)
        predicted_gain = jnp.zeros_like(state.predicted_gain)
        if kl:
            trial, gain = within_radius(model, gradient, parameters, trial, accepted, self.radius)
            predicted_gain = jnp.where(accepted, gain, 0).astype(predicted_gain.dtype)
        trial = jnp.where(jnp.all(jnp.isfinite(trial)), trial, state.last_accepted)
        expected = jnp.std(clipped + model.push(trial - parameters))
        state = replace(
            state,
            predicted=jnp.where(accepted, expected, state.spread),
            predicted_gain=predicted_gain,
            memory=memory,
            step=jnp.where(accepted, trial - parameters, 0) if state.step.size else state.step,
        )
        return trial, state, Info(model.residuals, jnp.linalg.norm(gradient), accepted)

    def _judged(
        self,
        state: GaussNewtonState,
        parameters: Vector,
        spread: Scalar,
        mean_residual: Scalar,
        accepted: Bool[Array, ""],
        predicted_gain: Scalar,
        found: Scalar,
        noise: Scalar,
    ) -> GaussNewtonState:
        """The state after the step before has been accepted or refused: its parameters and its damping."""
        poor = jnp.isfinite(state.spread) & (found < 0.25 * predicted_gain) & (predicted_gain > noise)
        factor = jnp.where(accepted, jnp.where(poor, 1.0, self.decrease), self.increase)
        return replace(
            state,
            last_accepted=jnp.where(accepted, parameters, state.last_accepted),
            spread=jnp.where(accepted, spread, state.spread),
            mean_residual=jnp.where(accepted, mean_residual, state.mean_residual),
            damping=jnp.clip(state.damping * factor, self.damping_min, 1e6),
            refused=jnp.where(accepted, 0, state.refused + 1),
        )
