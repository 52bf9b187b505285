"""Annealed importance sampling, stochastic flows, sequential Monte Carlo: proposals driven from a start to exp(-S)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from trivmap._types import Field, Key, Scalar
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.samplers.independence import AbstractIndependence, Proposal, draw_log_uniform
from trivmap.samplers.moves import AbstractMove, Hamiltonian, Point, point
from trivmap.samplers.paths import AbstractPath


class SMCResult(NamedTuple):
    """Every particle of one run, and the statistics of the run.

    E[N^-1 sum_i w_i f(field_i)] = integral of f exp(-S) d^V phi, so the mean of w is an unbiased estimate of Z.
    Particles of one run share ancestors: an error needs several runs and their means.
    """

    fields: Float[Array, "particles *lattice"]
    log_weights: Float[Array, " particles"]
    acceptance: Float[Array, "levels moves"]
    """The acceptance of each move at each level, averaged over the particles."""
    ess: Float[Array, " levels"]
    """(sum w)^2 / (N sum w^2) at each level, before resampling; 1 for a single particle."""


class Annealed(AbstractIndependence):
    """Proposals driven along a path of densities, weighted by the work done on them.

    x_0 is drawn from exp(-U_0). For t = 1 ... n: log w -= (s_t - s_{t-1}) D(x_{t-1}); then the `moves`, which leave
    exp(-U_{s_t}) invariant, take x_{t-1} to x_t. Then E[w f(x_n)] = integral of f exp(-S) (Jarzynski,
    arXiv:cond-mat/9610209; annealed importance sampling, arXiv:physics/9803008; from a flow: stochastic normalizing
    flows, arXiv:2201.08862), although the density of x_n is not known: w is the ratio of the densities of the whole
    history run backward from exp(-S)/Z and run forward, times Z. Independence Metropolis on histories is therefore
    exact, and so are reweighting and log Z.

    With `particles` N > 1 one proposal is a run of sequential Monte Carlo (Del Moral, Doucet, Jasra, J. R. Stat. Soc. B
    68, 411 (2006)): N histories, resampled systematically whenever the effective sample size of their weights is below
    `threshold` N. The field is one particle, drawn by weight, and w is the run's unbiased estimate of Z; the
    accept test is then particle independent Metropolis-Hastings (Andrieu, Doucet, Holenstein, J. R. Stat. Soc. B 72,
    269 (2010)).

    `levels` are 0 = s_0 <= ... <= s_n = 1, see `annealing_levels`. A proposal costs N n times what the moves cost.

    Raises `InputError` for other levels, without moves, for a move that does not work on the path, for fewer than one
    particle, or for a threshold outside [0, 1].
    """

    path: AbstractPath
    levels: Float[Array, " levels_and_start"]
    moves: tuple[AbstractMove, ...]
    particles: int = eqx.field(static=True)
    threshold: float = eqx.field(static=True)

    def __init__(
        self,
        path: AbstractPath,
        levels: ArrayLike,
        moves: Sequence[AbstractMove],
        *,
        particles: int = 1,
        threshold: float = 0.5,
    ):
        values = np.asarray(levels, np.float64)
        if values.ndim != 1 or len(values) < 2 or values[0] != 0 or values[-1] != 1 or not np.all(np.diff(values) >= 0):
            raise InputError("annealing: levels must rise from 0 to 1, both included, as in [0, 0.5, 1]")
        if not moves:
            raise InputError("annealing: needs at least one move between the levels")
        for move in moves:
            move.check(path)
        if particles < 1:
            raise InputError(f"annealing: particles must be at least 1, got {particles}")
        if not 0 <= threshold <= 1:
            raise InputError(f"annealing: threshold must lie between 0 and 1, got {threshold:g}")
        self.path, self.moves = path, tuple(moves)
        self.levels = jnp.asarray(values, jax.dtypes.canonicalize_dtype(jnp.float64))
        self.particles, self.threshold = particles, float(threshold)

    @property
    def lattice(self) -> Lattice:
        return self.path.lattice

    @property
    def micro_batch(self) -> int:
        return max(1, self.path.micro_batch // self.particles)

    def propose(self, key: Key) -> Proposal:
        run_key, choice_key, accept_key = jax.random.split(key, 3)
        run = self.run(run_key)
        chosen = 0 if self.particles == 1 else jax.random.categorical(choice_key, run.log_weights)
        log_weight = _log_mean(run.log_weights)
        return Proposal(run.fields[chosen], log_weight, draw_log_uniform(accept_key, log_weight.dtype))

    def run(self, key: Key) -> SMCResult:
        """All particles of one proposal; batch with `jax.vmap`."""
        # At the start and at each level: one key for every particle, and one for resampling.
        keys = jax.random.split(key, (len(self.levels), self.particles + 1))

        def level(
            carry: tuple[Point, Array], step: tuple[Array, Array]
        ) -> tuple[tuple[Point, Array], tuple[Array, Array]]:
            (points, log_weights), (here, t) = carry, step
            work = (self.levels[t + 1] - self.levels[t]) * points.residual.astype(log_weights.dtype)
            log_weights = log_weights - work
            ess = _ess(log_weights)
            if self.particles > 1:
                ancestors = systematic(here[-1], log_weights)
                due = ess < self.threshold
                points = jax.tree.map(lambda leaf: jnp.where(due, leaf[ancestors], leaf), points)
                log_weights = jnp.where(due, _log_mean(log_weights), log_weights)
            points, acceptance = jax.vmap(lambda key, at: self._move(key, self.levels[t + 1], at, self.moves))(
                here[:-1], points
            )
            return (points, log_weights), (jnp.mean(acceptance, axis=0), ess)

        starts = jax.vmap(self._start)(keys[0, :-1])
        steps = (keys[1:], jnp.arange(len(self.levels) - 1))
        begun = (starts, jnp.zeros(self.particles, self.levels.dtype))
        (points, log_weights), (acceptance, ess) = jax.lax.scan(level, begun, steps)
        fields = jax.vmap(self.path.field)(jax.random.split(keys[0, -1], self.particles), points.x)
        return SMCResult(fields, log_weights, acceptance, ess)

    def backward(self, key: Key, x: Field) -> Scalar:
        """log w of a history run backward from x, in the path's variable, drawn from exp(-U_1): E[1/w] = 1/Z.

        It detects regions that the forward runs miss. By Crooks' theorem (arXiv:cond-mat/9901352) log w has a density
        p_F forward and p_B backward with p_F(log w) w = p_B(log w) Z.
        """
        moves = self.moves[::-1]

        def level(carry: tuple[Point, Array], t: Array) -> tuple[tuple[Point, Array], None]:
            at, log_weight = carry
            at, _ = self._move(jax.random.fold_in(key, t), self.levels[t + 1], at, moves, backward=True)
            work = (self.levels[t + 1] - self.levels[t]) * at.residual.astype(log_weight.dtype)
            return (at, log_weight - work), None

        steps = jnp.arange(len(self.levels) - 1, dtype=jnp.uint32)[::-1]
        begun = (self._point(x), jnp.zeros((), self.levels.dtype))
        return jax.lax.scan(level, begun, steps)[0][1]

    def _start(self, key: Key) -> Point:
        return self._point(self.path.start(key))

    def _point(self, x: Field) -> Point:
        return point(self.path, x, any(move.gradients for move in self.moves))

    def _move(
        self, key: Key, s: Scalar, at: Point, moves: Sequence[AbstractMove], *, backward: bool = False
    ) -> tuple[Point, Float[Array, " moves"]]:
        acceptance = []
        keys = [key] if len(moves) == 1 else jax.random.split(key, len(moves))
        for move_key, move in zip(keys, moves, strict=True):
            at, accepted = move(move_key, self.path, s, at, backward=backward)
            acceptance.append(accepted)
        return at, jnp.stack(acceptance)


def annealing_levels(steps: int, power: float = 1.0) -> np.ndarray:
    """s_t = (t / steps)^power, t = 0 ... steps.

    Raises `InputError` for fewer than one step or a power that is not positive.
    """
    if steps < 1 or not 0 < power < math.inf:
        raise InputError(f"annealing: needs at least one step and a positive power, got {steps} and {power:g}")
    return (np.arange(steps + 1) / steps) ** power


def systematic(key: Key, log_weights: Float[Array, " particles"]) -> Array:
    """Ancestors by systematic resampling: particle i is chosen N W_i times, up to rounding, and exactly on average.

    W_i are the normalized weights; one uniform number places N equidistant pointers on their cumulative sum.
    """
    count = len(log_weights)
    cumulative = jnp.cumsum(jnp.exp(log_weights - jnp.max(log_weights)))
    uniform = jax.random.uniform(key, dtype=log_weights.dtype)
    pointers = (jnp.arange(count).astype(log_weights.dtype) + uniform) / count
    # Rounding may put the last pointer beyond the last particle.
    return jnp.minimum(jnp.searchsorted(cumulative / cumulative[-1], pointers, side="right"), count - 1)


def tune_step_size(
    kernel: Annealed, key: Key, *, acceptance: float = 0.8, proposals: int = 64, rounds: int = 12
) -> Annealed:
    """The kernel with the step size of its Hamiltonian moves tuned to the wanted mean acceptance, then fixed.

    Uses bisection in log(step size) between 1e-3 and 2 with fixed random numbers, on `proposals` runs of one particle
    over at most 32 of the levels. Use other keys for the proposals that follow.

    Raises `InputError` for a kernel without Hamiltonian moves or an acceptance outside (0, 1).
    """
    which = [number for number, move in enumerate(kernel.moves) if isinstance(move, Hamiltonian)]
    if not which:
        raise InputError("annealing: no Hamiltonian move to tune")
    if not 0 < acceptance < 1:
        raise InputError(f"annealing: acceptance must lie between 0 and 1, got {acceptance:g}")
    steps = len(kernel.levels) - 1
    chosen = np.unique(np.linspace(0, steps, min(steps, 32) + 1).round().astype(int))
    pilot = Annealed(kernel.path, np.asarray(kernel.levels)[chosen], kernel.moves)
    low, high = math.log(1e-3), math.log(2.0)
    for _ in range(rounds):
        middle = (low + high) / 2
        found = float(_mean_acceptance(_with_step_size(pilot, math.exp(middle)), key, proposals, tuple(which)))
        low, high = (middle, high) if found > acceptance else (low, middle)
    return _with_step_size(kernel, math.exp((low + high) / 2))


@eqx.filter_jit
def _mean_acceptance(kernel: Annealed, key: Key, proposals: int, moves: tuple[int, ...]) -> Scalar:
    keys = jax.random.split(key, proposals)
    runs = jax.lax.map(kernel.run, keys, batch_size=min(kernel.micro_batch, proposals))
    return jnp.mean(runs.acceptance[..., np.array(moves)])


def _with_step_size(kernel: Annealed, step_size: float) -> Annealed:
    moves = [
        Hamiltonian(step_size, move.steps, integrator=move.integrator) if isinstance(move, Hamiltonian) else move
        for move in kernel.moves
    ]
    return eqx.tree_at(lambda kernel: kernel.moves, kernel, tuple(moves))


def _log_mean(log_weights: Float[Array, " particles"]) -> Scalar:
    """log of the mean weight; exact for a single particle."""
    return jax.nn.logsumexp(log_weights) - math.log(len(log_weights))


def _ess(log_weights: Float[Array, " particles"]) -> Scalar:
    total = 2 * jax.nn.logsumexp(log_weights) - jax.nn.logsumexp(2 * log_weights)
    return jnp.exp(total) / len(log_weights)
