"""Many Hamiltonian chains side by side, traced: warm-up with adaptation, then parts that are measured on the way."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from trivmap._types import Key, Scalar
from trivmap.errors import InputError
from trivmap.samplers.hmc import HMC, HMCInfo, HMCState, exp_minus_delta_h
from trivmap.samplers.integrators import INTEGRATORS
from trivmap.samplers.potentials import start_positions
from trivmap.simulation.adaptation import DualAveraging
from trivmap.simulation.chains import AbstractChains, ChainPart, Measure, State

_CHUNK_SITES = 2**21
_LONGEST_CHUNK = 256


class MarkovChains(AbstractChains):
    """`chains` chains of one `HMC` kernel, batched by `jax.vmap`.

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

        def warm(arrays: HMC) -> tuple[HMCState, Array, Scalar]:
            positions = start_positions(kernel.potential, start, jax.random.split(self._start_key, chains))
            states = jax.vmap(eqx.combine(arrays, static).at)(positions)
            finite = jnp.isfinite(states.energy)

            def body(index: Array, carry: tuple[HMCState, DualAveraging]) -> tuple[HMCState, DualAveraging]:
                states, adaptation = carry
                step_size = arrays.step_size if target is None else adaptation.step_size
                states, info = _advance(at(arrays, step_size), self._warmup_key, chains, states, index)
                if target is None:
                    return states, adaptation
                acceptance = jnp.mean(jnp.minimum(1, exp_minus_delta_h(info.delta_h)))
                return states, adaptation.update(acceptance.astype(step_size.dtype), target)

            states, adaptation = jax.lax.fori_loop(0, warmup, body, (states, DualAveraging.begin(arrays.step_size)))
            return states, finite, arrays.step_size if target is None or warmup == 0 else adaptation.final

        def run(
            arrays: HMC, states: HMCState, step_size: Scalar, start: Array, count: Array, thin: int | None
        ) -> tuple[HMCState, dict[str, Array], Array | None]:
            moved = at(arrays, step_size)

            def record(states: HMCState, info: HMCInfo) -> dict[str, Array]:
                measured = jax.vmap(lambda field: dict(measure(field)))(states.field)
                added = {"accepted": info.accepted, "exp_minus_delta_h": exp_minus_delta_h(info.delta_h)}
                return measured | added

            def body(index: Array, carry: tuple[HMCState, dict[str, Array], Array | None]) -> Any:
                states, rows, kept = carry
                states, info = _advance(moved, self._key, chains, states, start + index)
                rows = jax.tree.map(
                    lambda column, row: jax.lax.dynamic_update_index_in_dim(column, row, index, 0),
                    rows,
                    record(states, info),
                )
                if thin is not None and kept is not None:
                    slot = (start + index) // thin - (start + thin - 1) // thin
                    kept = jax.lax.cond(
                        (start + index) % thin == 0,
                        lambda kept: jax.lax.dynamic_update_index_in_dim(kept, states.field, slot, 0),
                        lambda kept: kept,
                        kept,
                    )
                return states, rows, kept

            # Written in place, so that one program serves every number of steps up to the chunk.
            shapes = jax.eval_shape(record, states, HMCInfo(jnp.zeros(chains, bool), jnp.zeros_like(states.energy)))
            rows = jax.tree.map(lambda leaf: jnp.zeros((self._chunk, *leaf.shape), leaf.dtype), shapes)
            kept = None
            if thin is not None:
                kept = jnp.zeros((-(-self._chunk // thin), *states.field.shape), states.field.dtype)
            return jax.lax.fori_loop(0, count, body, (states, rows, kept))

        def reverse(arrays: HMC, states: HMCState, step_size: Scalar) -> Array:
            moved = at(arrays, step_size)
            steps = moved.steps(self._test_key)
            keys = jax.random.split(self._test_key, chains)
            return jax.vmap(moved.irreversibility, in_axes=(0, 0, None))(keys, states, steps)

        self._warm = jax.jit(warm)
        self._run = jax.jit(run, static_argnames="thin")
        self._reverse = jax.jit(reverse)

    def start(self) -> State:
        """Raises `InputError` where the action is not finite at the start."""
        states, finite, step_size = self._warm(self._arrays)
        if not np.all(finite):
            raise InputError(
                f"sampling.start: the action of {int(np.sum(~np.asarray(finite)))} of {self.chains} chains is not a "
                f"finite number at their {self._begin} start; choose another start"
            )
        return {name: np.asarray(leaf) for name, leaf in states._asdict().items()} | {
            "step_size": np.asarray(step_size)
        }

    def part(
        self, state: State, start: int, stop: int, *, thin: int = 1, fields: bool = False
    ) -> tuple[ChainPart, State]:
        states, step_size = _unpack(state)
        columns: dict[str, list[np.ndarray]] = {}
        pictures: list[np.ndarray] = []
        for first in range(start, stop, self._chunk):
            count = min(self._chunk, stop - first)
            begin, length = jnp.asarray(first, jnp.int32), jnp.asarray(count, jnp.int32)
            states, rows, kept = self._run(
                self._arrays, states, step_size, begin, length, thin=thin if fields else None
            )
            for name, column in rows.items():
                columns.setdefault(name, []).append(np.asarray(column)[:count])
            if kept is not None:
                number = -(-(first + count) // thin) - -(-first // thin)
                pictures.append(np.asarray(kept)[:number])
        joined = {name: np.moveaxis(np.concatenate(pieces), 0, 1) for name, pieces in columns.items()}
        accepted = joined.pop("accepted")
        saved = np.moveaxis(np.concatenate(pictures), 0, 1) if fields else None
        new = {name: np.asarray(leaf) for name, leaf in states._asdict().items()}
        return ChainPart(accepted, joined, saved), new | {"step_size": state["step_size"]}

    def diagnostics(self, state: State) -> dict[str, Any]:
        """Step size, mean steps of a trajectory, integrator, and the worst reversibility over the chains."""
        states, step_size = _unpack(state)
        names = [name for name, known in INTEGRATORS.items() if known == self.kernel.integrator]
        deviation = np.asarray(self._reverse(self._arrays, states, step_size), np.float64)
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


def _advance(kernel: HMC, key: Key, chains: int, states: HMCState, index: Array) -> tuple[HMCState, HMCInfo]:
    """One trajectory of every chain: that of chain c has the key (key, c, index), the number of steps (key, index)."""
    own = jax.vmap(lambda chain: jax.random.fold_in(jax.random.fold_in(key, chain), index))(
        jnp.arange(chains, dtype=jnp.uint32)
    )
    # No chain has this number.
    common = jax.random.fold_in(jax.random.fold_in(key, jnp.uint32(2**32 - 1)), index)
    return jax.vmap(kernel.step, in_axes=(0, 0, None))(own, states, kernel.steps(common))


def _unpack(state: State) -> tuple[HMCState, Array]:
    return HMCState(*(jnp.asarray(state[name]) for name in HMCState._fields)), jnp.asarray(state["step_size"])
