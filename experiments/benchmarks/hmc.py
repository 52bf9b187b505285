"""Trajectories of HMC a second beside blackjax's: run as `python -m experiments.benchmarks hmc [--quick]`.

Both move the same number of chains of phi^4 on the line xi = L/4 by the leapfrog, float32, unit mass, the same step
size and number of steps, nothing measured, in one compiled loop. Prints, for each size, acceptance and trajectories a
second of both and the ratio, paired round by round; keeps it all in
results/benchmarks/hmc.json. A busy machine moves the ratio of the seconds of the processors less than that of the
seconds on the clock.
"""

from collections.abc import Callable
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.clock import in_turn, medians, ratio
from experiments.benchmarks.options import benchmark
from experiments.benchmarks.results import keep
from trivmap.actions import Phi4
from trivmap.lattice import Lattice
from trivmap.samplers import HMC, INTEGRATORS, ActionPotential, FourierMass

PACKAGES = ("trivmap", "blackjax", "jax", "jaxlib", "equinox")
LAM, STEPS = 0.5, 10
# (L, beta, step size): acceptances near 0.8.
SIZES = ((8, 0.576, 0.24), (16, 0.634, 0.18), (32, 0.6614, 0.13))
OURS, THEIRS = "trivmap", "blackjax"

Run = Callable[[Any, jax.Array], tuple[Any, jax.Array]]


def ours(extent: int, beta: float, step_size: float, **options: Any) -> tuple[Callable, Run]:
    """`start(key)` and `run(states, keys)`; keys are (trajectories, chains), and so are the accept decisions."""
    action, lattice = Phi4.from_couplings("bosetti2015", 2, beta=beta, lam=LAM), Lattice((extent, extent))
    kernel = HMC(ActionPotential(action, lattice, jnp.float32), step_size=step_size, **options)
    steps = jnp.asarray(STEPS // len(kernel.integrator.stages), jnp.int32)

    def advance(states, keys):
        states, info = jax.vmap(kernel.step, in_axes=(0, 0, None))(keys, states, steps)
        return states, info.accepted

    def start(keys):
        # From noise the larger steps would never leave.
        return jax.vmap(lambda _: kernel.at(jnp.zeros((extent, extent), jnp.float32)))(keys)

    return start, lambda states, keys: jax.lax.scan(advance, states, keys)


def theirs(extent: int, beta: float, step_size: float) -> tuple[Callable, Run]:
    """blackjax.hmc, vmapped as its documentation does; the action in one expression, its gradient by autodiff."""

    def log_density(field):
        square = field * field
        links = field * (jnp.roll(field, -1, 0) + jnp.roll(field, -1, 1))
        return jnp.sum(beta * links - (1 - 2 * LAM) * square - LAM * square * square)

    kernel = blackjax.hmc(log_density, step_size, jnp.ones(extent * extent, jnp.float32), STEPS)

    def start(keys):
        return jax.vmap(lambda _: kernel.init(jnp.zeros((extent, extent), jnp.float32)))(keys)

    def advance(states, keys):
        states, info = jax.vmap(kernel.step)(keys, states)
        return states, info.is_accepted

    return start, lambda states, keys: jax.lax.scan(advance, states, keys)


class Contender:
    """A compiled loop of `trajectories` trajectories of every chain, and where it stands."""

    def __init__(self, start: Callable, run: Run, *, x64: bool, chains: int, trajectories: int):
        self._x64, self._shape, self._count = x64, (trajectories, chains), 0
        with jax.enable_x64(x64):
            self._states = jax.jit(start)(jax.random.split(jax.random.key(0), chains))
            self._run = jax.jit(lambda states, key: run(states, jax.random.split(key, self._shape)))

    def __call__(self) -> jax.Array:
        self._count += 1
        with jax.enable_x64(self._x64):
            self._states, accepted = self._run(self._states, jax.random.key(self._count))
        return accepted

    def acceptance(self, calls: int) -> tuple[float, float]:
        """Mean and error over the chains, after a warm-up as long."""
        flags = np.concatenate([np.asarray(self()) for _ in range(2 * calls)])[calls * self._shape[0] :]
        means = flags.mean(axis=0)
        return float(means.mean()), float(means.std(ddof=1) / np.sqrt(len(means)))


def main(arguments: list[str]) -> None:
    parser = benchmark("hmc", __doc__)
    parser.add_argument("--quick", action="store_true", help="L=8 only, and keep nothing")
    parser.add_argument("--rounds", type=int, default=7, help="rounds in which all contenders take their turn")
    parser.add_argument("--chains", type=int, default=64)
    options = parser.parse_args(arguments)
    entries = []
    for extent, beta, step_size in SIZES[: 1 if options.quick else None]:
        trajectories = max(4, 64 * 64 // extent**2)
        same = {"chains": options.chains, "trajectories": trajectories}
        with jax.enable_x64(True):
            masses = FourierMass(Lattice((extent, extent)), m_sq=0.25, dtype=jnp.float32)
        variants = {
            OURS: ours(extent, beta, step_size),
            f"{OURS}, minimum norm": ours(extent, beta, 2 * step_size, integrator=INTEGRATORS["omelyan"]),
            f"{OURS}, Fourier masses": ours(extent, beta, step_size, kinetic=masses),
        }
        contenders = {name: Contender(*pair, x64=True, **same) for name, pair in variants.items()}
        contenders[THEIRS] = Contender(*theirs(extent, beta, step_size), x64=False, **same)
        turns = in_turn(contenders, rounds=options.rounds)
        entry: dict[str, Any] = {"extent": extent, "beta": beta, "step_size": step_size, "steps": STEPS, **same}
        print(
            f"\nL={extent} beta={beta} step size {step_size}, {STEPS} evaluations a trajectory, {options.chains} chains"
        )
        for name, contender in contenders.items():
            value, error = contender.acceptance(-(-200 // trajectories))
            rate = trajectories * options.chains / medians(turns[name]).wall
            print(f"  {name:24} {rate:10.0f} trajectories/s   acceptance {value:.4f} +- {error:.4f}", flush=True)
            entry[name] = {"trajectories_per_second": rate, "acceptance": value, "error": error}
        entry["ratio"] = {clock: ratio(turns, THEIRS, OURS, clock) for clock in ("wall", "processor")}
        print(f"  ratio to blackjax {entry['ratio']['wall']:.2f} (processors {entry['ratio']['processor']:.2f})")
        entries.append(entry)
    if not options.quick:
        keep("hmc", PACKAGES, {"lam": LAM, "cases": entries})
