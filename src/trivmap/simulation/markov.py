"""Many parallel chains of one compiled kernel: warm-up with adaptation, then parts with measurements."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from trivmap._types import Key, Scalar
from trivmap.devices import replicate, shard_batch, to_host
from trivmap.errors import InputError
from trivmap.samplers.contract import state_names
from trivmap.samplers.kernel import AbstractKernel
from trivmap.simulation.adaptation import DualAveraging
from trivmap.simulation.driver import AbstractDriver, Done, Measure, Part, State, unheard
from trivmap.streams import proposal_key
from trivmap.tuning import tuning

_LONGEST_CHUNK = 256
_CAREFUL = 8
_SMALLEST_STEP = 1e-6
"""The smallest step size that the warm-up may reach, in units of the initial one."""
_STEP_SIZE = "step_size"


class MarkovChains(AbstractDriver):
    """Chains of any kernel, batched by `jax.vmap` and shared among several devices.

    The `shared` random numbers of the kernel for step i are drawn from (key, i), and are the same in all chains.

    Args:
        kernel: the kernel.
        key: the key of all random numbers.
        chains: the number of chains.
        measure: observables of one configuration; the kernel's records of a step are added to them.
        start: `hot`, `cold` or `mixed`, see `samplers.start_positions`; or a function that gives the configurations at
            which the chains begin, shape (chains, ...), called once when they begin.
        warmup: steps before anything is measured; every second one has an eighth of the kernel's step size, if it has
            one, which leads out of starts where whole steps are never accepted.
        target: mean acceptance that the warm-up tunes the step size to, common to all chains, by dual averaging from
            the kernel's own; None keeps the kernel's.

    Raises:
        InputError: unless there is a chain, warmup is not negative and 0 < target < 1, for a target with a kernel that
            has no step size, and for a state that is not one.
    """

    def __init__(
        self,
        kernel: AbstractKernel,
        key: Key,
        *,
        chains: int,
        measure: Measure,
        start: str | Callable[[], np.ndarray] = "hot",
        warmup: int = 200,
        target: float | None = 0.8,
    ):
        if chains < 1:
            raise InputError(f"sampling.chains: must be at least 1, got {chains}")
        if warmup < 0:
            raise InputError(f"sampling.warmup: must not be negative, got {warmup}")
        if target is not None and not 0 < target < 1:
            raise InputError(f"sampling.acceptance: the wanted acceptance must lie between 0 and 1, got {target:g}")
        if target is not None and not kernel.tunable:
            raise InputError(f"target: {type(kernel).__name__} has no step_size to be tuned; leave the target out")
        self.chains, self.kernel = chains, kernel.with_own_step_size()
        self._step_size = getattr(self.kernel, _STEP_SIZE, jnp.zeros(()))
        self._begin, self._warmup, self._target = start, warmup, target
        self._start_key, self._warmup_key, self._key, self._test_key = jax.random.split(key, 4)
        self._chunk = int(np.clip(tuning().chain_sites // (chains * kernel.lattice.volume), 1, _LONGEST_CHUNK))
        self._arrays, static = eqx.partition(self.kernel, eqx.is_array)

        def at(arrays: AbstractKernel, step_size: Scalar) -> AbstractKernel:
            return eqx.combine(arrays, static).tuned(step_size)

        # Keys are arguments of the programs, not constants in them, so that a cache serves runs of all seeds.
        def begin(arrays: AbstractKernel, key: Key, fields: Array | None) -> tuple[Any, Array]:
            whole = eqx.combine(arrays, static)
            if isinstance(start, str):
                states = whole.starts(start, key, chains)
            else:
                assert fields is not None
                states = jax.vmap(whole.at)(fields)
            return states, jax.vmap(whole.valid)(states)

        # Jitted because its form is computed before it is called, and tracing it is slow.
        @partial(jax.jit, inline=True)
        def advance(
            of: tuple[AbstractKernel, Scalar, Any], batch: tuple[Array, Any]
        ) -> tuple[Any, Any, dict[str, Array]]:
            (arrays, step_size, shared), (own, states) = of, batch
            moved = at(arrays, step_size)
            states, info = jax.vmap(moved.step, in_axes=(0, 0, None))(own, states, shared)
            measured = jax.vmap(lambda field: dict(measure(field)))(states.field)
            recorded = dict(jax.vmap(moved.record)(info))
            if both := sorted(measured.keys() & recorded.keys()):
                raise InputError(f"kernel: records {both[0]}, which is the name of an observable; give it another name")
            return states, info, {**measured, **recorded, "accepted": info.accepted}

        def run(
            arrays: AbstractKernel, walk: _Walk, key: Key, first: Array, count: Array, warming: Array, thin: int | None
        ) -> tuple[_Walk, dict[str, Array], Array | None]:
            def body(index: Array, carry: tuple[_Walk, dict[str, Array], Array | None]) -> Any:
                walk, rows, kept = carry
                # The steps may be unstable at the start, so that nothing is ever accepted: every second trajectory of
                # the warm-up has small steps, which leads out of there.
                careful = warming & ((first + index) % 2 == 1)
                step_size, adaptation = walk.step_size, walk.adaptation
                moved_by = jnp.where(careful, step_size / _CAREFUL, step_size)
                shared = at(arrays, step_size).shared(_common_key(key, first + index))
                own = _keys(key, chains, first + index)
                states, info, row = shard_batch(advance, (arrays, moved_by, shared), (own, walk.states))
                if target is not None:
                    # Averaged over all chains on each device: a mean of partial means differs by rounding, which the
                    # step size would retain.
                    chances = jax.vmap(kernel.acceptance)(replicate(info))
                    acceptance = jnp.mean(chances).astype(step_size.dtype)
                    updated = adaptation.update(acceptance, target)
                    adaptation = jax.tree.map(partial(jnp.where, careful), adaptation, updated)
                    step_size = jnp.where(warming, adaptation.step_size, step_size)

                # Unconditional, also in the warm-up: a conditional around a buffer would copy it at every step.
                rows = jax.tree.map(partial(_put, index), rows, row)
                if thin is not None and kept is not None:
                    # A step that is not kept writes to the place of the next kept one.
                    kept = _put((first + index + thin - 1) // thin - (first + thin - 1) // thin, kept, states.field)
                return _Walk(states, step_size, adaptation), rows, kept

            # Rows are written in place, so one program serves every number of steps up to the chunk, and the warm-up.
            of = arrays, walk.step_size, at(arrays, walk.step_size).shared(key)
            _, _, shapes = jax.eval_shape(advance, of, (_keys(key, chains, first), walk.states))
            rows = jax.tree.map(lambda leaf: jnp.zeros((self._chunk, *leaf.shape), leaf.dtype), shapes)
            kept = None
            if thin is not None:
                field = walk.states.field
                kept = jnp.zeros((self._chunk // thin + 2, *field.shape), field.dtype)
            return replicate(jax.lax.fori_loop(0, count, body, (walk, rows, kept)))

        def checked(arrays: AbstractKernel, key: Key, states: Any, step_size: Scalar) -> Mapping[str, Array]:
            moved = at(arrays, step_size)
            keys = jax.random.split(key, chains)
            return jax.vmap(moved.check, in_axes=(0, 0, None))(keys, states, moved.shared(key))

        self._states = jax.jit(begin)
        self._run = jax.jit(run, static_argnames="thin")
        self._checked = jax.jit(checked)
        # The form of a state, which is needed to read stored states.
        field = jax.eval_shape(self.kernel.init, self._start_key).field
        fields = None if isinstance(start, str) else jax.ShapeDtypeStruct((chains, *field.shape), field.dtype)
        self._form, _ = jax.eval_shape(begin, self._arrays, self._start_key, fields)
        self._names = state_names(self._form)

    def start(self) -> State:
        """Raises `InputError` if a chain cannot begin, for example because the action is not finite."""
        states, valid = self._states(self._arrays, self._start_key, self._given())
        if bad := int(np.sum(~np.asarray(valid))):
            raise InputError(
                f"sampling.start: the action of {bad} of {self.chains} chains is not a finite number at their "
                f"{self._began} start; choose another start"
            )
        size = self._step_size
        walk = _Walk(states, size, DualAveraging.begin(size))
        for first in range(0, self._warmup, self._chunk):
            count = min(self._chunk, self._warmup - first)
            walk, _, _ = self._move(walk, self._warmup_key, first, count, warming=True)
        if self._target is None or not self._warmup:
            return self._packed(walk.states, size)
        if not float(walk.adaptation.final) > _SMALLEST_STEP * float(size):
            raise InputError(
                f"sampling.step_size: it fell to {float(walk.adaptation.final):.1g} in the warm-up: S has no lower "
                "bound, or the force does not belong to it"
            )
        return self._packed(walk.states, walk.adaptation.final)

    @property
    def _began(self) -> str:
        return self._begin if isinstance(self._begin, str) else "given"

    def _given(self) -> Array | None:
        """The configurations at which the chains begin, None for a kind of start."""
        if isinstance(self._begin, str):
            return None
        found, field = self._begin(), jax.eval_shape(self.kernel.init, self._start_key).field
        if found.shape != (self.chains, *field.shape):
            raise InputError(
                f"sampling.start: {self.chains} chains begin at configurations of shape {list(field.shape)} each, got "
                f"an array of shape {list(found.shape)}"
            )
        return jnp.asarray(found, field.dtype)

    def part(
        self, state: State, start: int, stop: int, *, thin: int | None = None, done: Done = unheard
    ) -> tuple[Part, State]:
        states, step_size = self._unpacked(state)
        walk = _Walk(states, step_size, DualAveraging.begin(step_size))
        columns: dict[str, list[np.ndarray]] = {}
        pictures: list[np.ndarray] = []
        for first in range(start, stop, self._chunk):
            count = min(self._chunk, stop - first)
            walk, rows, kept = self._move(walk, self._key, first, count, thin=thin)
            for name, column in rows.items():
                columns.setdefault(name, []).append(np.asarray(column)[:count])
            if thin is not None and kept is not None:
                number = -(-(first + count) // thin) - -(-first // thin)
                pictures.append(np.asarray(kept)[:number])
        joined = {name: np.moveaxis(np.concatenate(pieces), 0, 1) for name, pieces in columns.items()}
        accepted = joined.pop("accepted")
        saved = np.moveaxis(np.concatenate(pictures), 0, 1) if pictures else None
        done((stop - start) * self.chains)
        return Part(accepted, joined, saved), self._packed(walk.states, step_size)

    def diagnostics(self, state: State) -> dict[str, Any]:
        """The settings of the kernel and of the warm-up, and the largest of the kernel's checks over the chains."""
        states, step_size = self._unpacked(state)
        checks = self._checked(self._arrays, self._test_key, states, step_size)
        sized = {"step_size": float(step_size)} if self.kernel.tunable else {}
        return {
            **self.kernel.tuned(step_size).facts(),
            **sized,
            "wanted_acceptance": self._target,
            "warmup": self._warmup,
            "start": self._began,
            **{name: float(np.max(np.asarray(values, np.float64))) for name, values in checks.items()},
        }

    def _packed(self, states: Any, step_size: Scalar) -> State:
        sized = {_STEP_SIZE: np.asarray(step_size)} if self.kernel.tunable else {}
        return dict(zip(self._names, map(np.asarray, jax.tree.leaves(states)), strict=True)) | sized

    def _unpacked(self, state: State) -> tuple[Any, Scalar]:
        leaves = [jnp.asarray(state[name]) for name in self._names]
        step_size = jnp.asarray(state[_STEP_SIZE]) if self.kernel.tunable else self._step_size
        return jax.tree.unflatten(jax.tree.structure(self._form), leaves), step_size

    def _move(
        self, walk: "_Walk", key: Key, first: int, count: int, *, warming: bool = False, thin: int | None = None
    ) -> tuple["_Walk", dict[str, Array], Array | None]:
        numbers = jnp.asarray(first, jnp.int32), jnp.asarray(count, jnp.int32), jnp.asarray(warming)
        return to_host(self._run(self._arrays, walk, key, *numbers, thin=thin))


class _Walk(NamedTuple):
    states: Any
    step_size: Scalar
    adaptation: DualAveraging


def _keys(key: Key, chains: int, index: Array) -> Array:
    """The key of trajectory `index` of every chain."""
    return jax.vmap(lambda chain: proposal_key(key, chain, index))(jnp.arange(chains, dtype=jnp.uint32))


def _common_key(key: Key, index: Array) -> Key:
    """The key of the random numbers that all chains share in trajectory `index`: no chain has this number."""
    return proposal_key(key, jnp.uint32(2**32 - 1), index)


def _put(index: Array, column: Array, row: Array) -> Array:
    return jax.lax.dynamic_update_index_in_dim(column, row, index, 0)
