"""Many Hamiltonian chains side by side, traced: warm-up with adaptation, then parts that are measured on the way."""

import math
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from trivmap._types import Key, Scalar
from trivmap.devices import at_hand, replicated, spread
from trivmap.errors import InputError
from trivmap.samplers.hmc import HMC, HMCInfo, HMCState, exp_minus_delta_h
from trivmap.samplers.independence import proposal_key
from trivmap.samplers.integrators import INTEGRATORS
from trivmap.samplers.potentials import start_positions
from trivmap.simulation.adaptation import DualAveraging
from trivmap.simulation.chains import AbstractChains, ChainPart, Measure, State

_CHUNK_SITES = 2**21
_LONGEST_CHUNK = 256
_CAREFUL = 8


class MarkovChains(AbstractChains):
    """`chains` chains of one `HMC` kernel, batched by `jax.vmap`, several devices sharing them.

    - `measure`: observables of one physical field; `exp_minus_delta_h` of every trajectory is added to them.
    - `start`: `hot`, `cold` or `mixed`, see `samplers.start_positions`.
    - `warmup`: trajectories of `start`. With a `target` the step size, common to all chains, is adapted in them by
      dual averaging towards that mean acceptance, from the kernel's own, and then stays as it is; None keeps the
      kernel's.

    Trajectory i has the same number of steps in all chains, drawn from (key, i).

    Raises `InputError` unless there is a chain, warmup is not negative and 0 < target < 1.
    """

    def __init__(
        self,
        kernel: HMC,
        key: Key,
        *,
        chains: int,
        measure: Measure,
        start: str = "hot",
        warmup: int = 200,
        target: float | None = 0.8,
    ):
        if chains < 1:
            raise InputError(f"sampling.chains: must be at least 1, got {chains}")
        if warmup < 0:
            raise InputError(f"sampling.warmup: must not be negative, got {warmup}")
        if target is not None and not 0 < target < 1:
            raise InputError(f"sampling.acceptance: the wanted acceptance must lie between 0 and 1, got {target:g}")
        self.chains, self.kernel = chains, kernel
        self._begin, self._warmup, self._target = start, warmup, target
        self._start_key, self._warmup_key, self._key, self._test_key = jax.random.split(key, 4)
        self._chunk = int(np.clip(_CHUNK_SITES // (chains * kernel.potential.lattice.volume), 1, _LONGEST_CHUNK))
        self._arrays, static = eqx.partition(kernel, eqx.is_array)

        def at(arrays: HMC, step_size: Scalar) -> HMC:
            return eqx.tree_at(lambda k: k.step_size, eqx.combine(arrays, static), step_size)

        # Keys are arguments of the programs, not constants in them, so that a cache serves runs of all seeds.
        def begin(arrays: HMC, key: Key) -> HMCState:
            positions = start_positions(kernel.potential, start, key, chains)
            return jax.vmap(eqx.combine(arrays, static).at)(positions)

        def record(states: HMCState, info: HMCInfo) -> dict[str, Array]:
            measured = jax.vmap(lambda field: dict(measure(field)))(states.field)
            added = {"accepted": info.accepted, "exp_minus_delta_h": exp_minus_delta_h(info.delta_h)}
            return measured | added

        def advance(of: tuple[HMC, Array], batch: tuple[Array, HMCState]) -> tuple[HMCState, HMCInfo, dict[str, Array]]:
            (moved, steps), (own, states) = of, batch
            states, info = jax.vmap(moved.step, in_axes=(0, 0, None))(own, states, steps)
            return states, info, record(states, info)

        def run(
            arrays: HMC, walk: _Walk, key: Key, first: Array, count: Array, warming: Array, thin: int | None
        ) -> tuple[_Walk, dict[str, Array], Array | None]:
            def body(index: Array, carry: tuple[_Walk, dict[str, Array], Array | None]) -> Any:
                walk, rows, kept = carry
                # A start may lie where the step is unstable and nothing is ever accepted: every second trajectory of
                # the warm-up is one of small steps, which leads out of there.
                careful = warming & ((first + index) % 2 == 1)
                step_size, adaptation = walk.step_size, walk.adaptation
                moved = at(arrays, jnp.where(careful, step_size / _CAREFUL, step_size))
                steps = at(arrays, step_size).steps(_common_key(key, first + index))
                own = _keys(key, chains, first + index)
                states, info, row = spread(advance, (moved, steps), (own, walk.states))
                if target is not None:
                    # Whole: a mean over shares is another one within rounding, which a chain does not forget.
                    chances = jnp.minimum(1, exp_minus_delta_h(replicated(info.delta_h)))
                    acceptance = jnp.mean(chances).astype(step_size.dtype)
                    updated = adaptation.update(acceptance, target)
                    adaptation = jax.tree.map(partial(jnp.where, careful), adaptation, updated)
                    step_size = jnp.where(warming, adaptation.step_size, step_size)

                # Unconditionally, in the warm-up too: a conditional around a buffer copies it at every step.
                rows = jax.tree.map(partial(_put, index), rows, row)
                if thin is not None and kept is not None:
                    # A step that is not kept writes where the next kept one will.
                    kept = _put((first + index + thin - 1) // thin - (first + thin - 1) // thin, kept, states.field)
                return _Walk(states, step_size, adaptation), rows, kept

            # Written in place, so that one program serves every number of steps up to the chunk, and the warm-up.
            shapes = jax.eval_shape(
                record, walk.states, HMCInfo(jnp.zeros(chains, bool), jnp.zeros_like(walk.states.energy))
            )
            rows = jax.tree.map(lambda leaf: jnp.zeros((self._chunk, *leaf.shape), leaf.dtype), shapes)
            kept = None
            if thin is not None:
                field = walk.states.field
                kept = jnp.zeros((self._chunk // thin + 2, *field.shape), field.dtype)
            return replicated(jax.lax.fori_loop(0, count, body, (walk, rows, kept)))

        def reverse(arrays: HMC, key: Key, states: HMCState, step_size: Scalar) -> Array:
            moved = at(arrays, step_size)
            steps = moved.steps(key)
            keys = jax.random.split(key, chains)
            return jax.vmap(moved.irreversibility, in_axes=(0, 0, None))(keys, states, steps)

        self._states = jax.jit(begin)
        self._run = jax.jit(run, static_argnames="thin")
        self._reverse = jax.jit(reverse)

    def start(self) -> State:
        """Raises `InputError` where the action is not finite at the start."""
        states = self._states(self._arrays, self._start_key)
        bad = int(np.sum(~np.isfinite(states.energy)))
        if bad:
            raise InputError(
                f"sampling.start: the action of {bad} of {self.chains} chains is not a finite number at their "
                f"{self._begin} start; choose another start"
            )
        size = self._arrays.step_size
        walk = _Walk(states, size, DualAveraging.begin(size))
        for first in range(0, self._warmup, self._chunk):
            count = min(self._chunk, self._warmup - first)
            walk, _, _ = self._move(walk, self._warmup_key, first, count, warming=True)
        adapted = self._target is not None and self._warmup
        return _pack(walk.states, walk.adaptation.final if adapted else size)

    def part(
        self, state: State, start: int, stop: int, *, thin: int = 1, fields: bool = False
    ) -> tuple[ChainPart, State]:
        states, step_size = _unpack(state)
        walk = _Walk(states, step_size, DualAveraging.begin(step_size))
        columns: dict[str, list[np.ndarray]] = {}
        pictures: list[np.ndarray] = []
        for first in range(start, stop, self._chunk):
            count = min(self._chunk, stop - first)
            walk, rows, kept = self._move(walk, self._key, first, count, thin=thin if fields else None)
            for name, column in rows.items():
                columns.setdefault(name, []).append(np.asarray(column)[:count])
            if kept is not None:
                number = -(-(first + count) // thin) - -(-first // thin)
                pictures.append(np.asarray(kept)[:number])
        joined = {name: np.moveaxis(np.concatenate(pieces), 0, 1) for name, pieces in columns.items()}
        accepted = joined.pop("accepted")
        saved = np.moveaxis(np.concatenate(pictures), 0, 1) if fields else None
        return ChainPart(accepted, joined, saved), _pack(walk.states, step_size)

    def diagnostics(self, state: State) -> dict[str, Any]:
        """Step size, mean steps of a trajectory, integrator, and the worst reversibility over the chains."""
        states, step_size = _unpack(state)
        names = [name for name, known in INTEGRATORS.items() if known == self.kernel.integrator]
        deviation = np.asarray(self._reverse(self._arrays, self._test_key, states, step_size), np.float64)
        return {
            "integrator": names[0] if names else "custom",
            "kinetic": type(self.kernel.kinetic).__name__,
            "step_size": float(step_size),
            "trajectory_length": self.kernel.trajectory_length,
            "mean_steps": max(1, math.floor(self.kernel.trajectory_length / float(step_size) + 0.5)),
            "wanted_acceptance": self._target,
            "warmup": self._warmup,
            "start": self._begin,
            "irreversibility": float(np.max(deviation)),
        }

    def _move(
        self, walk: "_Walk", key: Key, first: int, count: int, *, warming: bool = False, thin: int | None = None
    ) -> tuple["_Walk", dict[str, Array], Array | None]:
        numbers = jnp.asarray(first, jnp.int32), jnp.asarray(count, jnp.int32), jnp.asarray(warming)
        return at_hand(self._run(self._arrays, walk, key, *numbers, thin=thin))


class _Walk(NamedTuple):
    states: HMCState
    step_size: Scalar
    adaptation: DualAveraging


def _keys(key: Key, chains: int, index: Array) -> Array:
    """The key of trajectory `index` of every chain."""
    return jax.vmap(lambda chain: proposal_key(key, chain, index))(jnp.arange(chains, dtype=jnp.uint32))


def _common_key(key: Key, index: Array) -> Key:
    """The key of what trajectory `index` has in common in all chains: no chain has this number."""
    return proposal_key(key, jnp.uint32(2**32 - 1), index)


def _put(index: Array, column: Array, row: Array) -> Array:
    return jax.lax.dynamic_update_index_in_dim(column, row, index, 0)


def _pack(states: HMCState, step_size: Scalar) -> State:
    return {name: np.asarray(leaf) for name, leaf in (states._asdict() | {"step_size": step_size}).items()}


def _unpack(state: State) -> tuple[HMCState, Array]:
    return HMCState(*(jnp.asarray(state[name]) for name in HMCState._fields)), jnp.asarray(state["step_size"])
