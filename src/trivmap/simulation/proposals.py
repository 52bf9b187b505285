"""Chains of independence Metropolis, run in parts so that memory stays bounded."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from trivmap._types import Key
from trivmap.ahead import Program, concurrent_map, default_threads
from trivmap.devices import device_count, replicate, shard_batch, to_host
from trivmap.observables.history import last_accepted
from trivmap.samplers import AbstractIndependence, Proposal, accept, proposal_key
from trivmap.simulation.driver import AbstractDriver, Done, Measure, Part, State, unheard
from trivmap.tuning import tuning


class ProposalChains(AbstractDriver):
    """Chains of independent proposals, which are generated and measured in compiled batches and tested in order.

    Proposal i of a chain depends only on (key, chain, i): batch size and parts do not matter. A compiled batch keeps
    about one core busy, so `threads` batches are made at a time (by default one per core that the process may use, and
    one on an accelerator). The same program runs on the same numbers, so results are bit-identical. Several devices
    share each batch, one batch after the other.

    A state is the `log_weight` of each chain's configuration, -inf before the first proposal, which is accepted; and
    the configurations themselves, `fields`, if they are saved.

    Args:
        kernel: the kernel.
        key: the key of all proposals.
        chains: the number of chains.
        measure: observables of one configuration; they are stored for every proposal.
        batch: proposals per compiled batch; None for `default_batch` of the devices.
        threads: batches that are made at a time.
    """

    history = "proposals"

    def __init__(
        self,
        kernel: AbstractIndependence,
        key: Key,
        *,
        chains: int,
        measure: Measure,
        batch: int | None = None,
        threads: int | None = None,
    ):
        # The key is an argument of the program, not a constant in it, so that a cache serves runs of all seeds.
        arrays, static = eqx.partition(kernel, eqx.is_array)
        self._arguments = (arrays, key)
        self.chains, self.lattice = chains, kernel.lattice
        self.stride = batch or default_batch(kernel.lattice.volume) * device_count()
        # Programs that wait for each other on several devices must start in the same order on all.
        self.threads = 1 if device_count() > 1 else threads or default_threads()

        def one(arguments: Any, chain: Array, index: Array) -> tuple[Proposal, Mapping[str, Array]]:
            arrays, key = arguments
            proposal = eqx.combine(arrays, static).propose(proposal_key(key, chain, index))
            return proposal, measure(proposal.field)

        def many(arguments: Any, chain: Array, indices: Array) -> tuple[Proposal, Mapping[str, Array]]:
            def share(of: tuple[Any, Array], indices: Array) -> tuple[Proposal, Mapping[str, Array]]:
                size = kernel.micro_batch or len(indices)
                return jax.lax.map(lambda index: one(*of, index), indices, batch_size=size)

            return replicate(shard_batch(share, (arguments, chain), indices))

        self._accept = jax.jit(accept)
        self._propose = Program(jax.jit(many))

    def adopt(self, kernel: AbstractIndependence) -> None:
        """Continue with a kernel that differs from the first only in the values of its arrays; the program stays."""
        arrays, _ = eqx.partition(kernel, eqx.is_array)
        self._arguments = (arrays, self._arguments[1])

    def batch(self, kernel: AbstractIndependence, key: Key, first: int) -> tuple[Proposal, Mapping[str, Array]]:
        """Proposals first ... first + stride - 1 for another key, or a kernel with other values, by the same program.

        Proposal i is `kernel.propose(proposal_key(key, 0, i))`, with its measurements.
        """
        arrays, _ = eqx.partition(kernel, eqx.is_array)
        indices = np.arange(first, first + self.stride, dtype=np.uint32)
        return to_host(self._propose((arrays, key), jnp.uint32(0), jnp.asarray(indices)))

    def proposals(self, chain: int, start: int, stop: int) -> Iterator[tuple[Proposal, Mapping[str, np.ndarray]]]:
        """Proposals start ... stop - 1 of a chain and what is measured on them, by the program of `part`.

        They come in batches, and are those that `part` tests, in every bit where batches begin at the same proposals.
        """
        for offset, _, made in self._batches(chain, start, stop):
            size = min(self.stride, stop - start - offset)
            yield jax.tree.map(lambda values, size=size: np.asarray(values)[:size], made)

    def begin(self) -> None:
        self._propose.begin(self._arguments, jnp.uint32(0), jnp.arange(self.stride, dtype=jnp.uint32))

    def start(self) -> State:
        return {"log_weight": np.full(self.chains, -np.inf)}

    def part(
        self, state: State, start: int, stop: int, *, thin: int | None = None, done: Done = unheard
    ) -> tuple[Part, State]:
        present = state.get("fields", [None] * self.chains)
        parts: list[Part] = []
        weights, configurations = [], []
        for chain, (weight, field) in enumerate(zip(state["log_weight"], present, strict=True)):
            part, weight, field = self._chain(chain, start, stop, float(weight), field, thin=thin)
            parts.append(part)
            weights.append(weight)
            configurations.append(field)
            done((stop - start) * (chain + 1))
        new: State = {"log_weight": np.array(weights)}
        if all(field is not None for field in configurations):
            new["fields"] = np.stack(configurations)
        return _stacked(parts), new

    def diagnostics(self, state: State) -> dict[str, Any]:
        return {}

    def _chain(
        self, chain: int, start: int, stop: int, weight: float, present: np.ndarray | None, *, thin: int | None
    ) -> tuple[Part, float, np.ndarray | None]:
        """A part of one chain, whose arrays have no axis of chains, and the state of the chain at its end."""
        count = stop - start
        kept: list[np.ndarray] = []
        columns: dict[str, np.ndarray] = {}
        log_weight, accepted = np.empty(count), np.empty(count, bool)
        # The last batch is computed in full and cut, so that one program serves all.
        for offset, index, (proposal, measured) in self._batches(chain, start, stop):
            size = min(self.stride, count - offset)
            where = slice(offset, offset + size)
            if not columns:
                columns = {name: np.empty((count, *v.shape[1:]), v.dtype) for name, v in measured.items()}
            for name, values in measured.items():
                columns[name][where] = np.asarray(values)[:size]
            # Padding with log-weight -inf: such a proposal is never accepted, and does not change the state.
            tested = jnp.where(index < stop, proposal.log_weight, -jnp.inf)
            last, flags = self._accept(tested.dtype.type(weight), tested, proposal.log_uniform)
            log_weight[where], accepted[where] = np.asarray(proposal.log_weight)[:size], np.asarray(flags)[:size]
            if thin is not None:
                batch_fields = np.asarray(proposal.field)[:size]
                chosen = last_accepted(accepted[where])
                wanted = np.arange(-(start + offset) % thin, size, thin)
                # A chain that has accepted nothing yet has zeros for its configuration.
                present = np.zeros(batch_fields.shape[1:], batch_fields.dtype) if present is None else present
                picked = batch_fields[np.maximum(chosen[wanted], 0)]
                picked[chosen[wanted] < 0] = present
                kept.append(picked)
                present = batch_fields[chosen[-1]].copy() if chosen[-1] >= 0 else present
            weight = float(last)
        stored = np.concatenate(kept) if kept else None
        return Part(accepted, columns, stored, log_weight), weight, present

    def _batches(
        self, chain: int, start: int, stop: int
    ) -> Iterator[tuple[int, Array, tuple[Proposal, Mapping[str, Array]]]]:
        """(first - start, indices, proposals with their measurements) of each batch, in order."""
        offsets = range(0, stop - start, self.stride)
        number = jnp.uint32(chain)
        indices = [jnp.arange(start + o, start + o + self.stride, dtype=jnp.uint32) for o in offsets]
        if indices:
            # Traced here, since JAX settings from a context do not apply in other threads.
            self.begin()

        def made(index: Array) -> tuple[Proposal, Mapping[str, Array]]:
            return jax.block_until_ready(to_host(self._propose(self._arguments, number, index)))

        return zip(offsets, indices, concurrent_map(made, indices, min(self.threads, len(indices))), strict=True)


def _stacked(parts: Sequence[Part]) -> Part:
    """The parts of several chains as one."""
    fields = [part.fields for part in parts if part.fields is not None]
    return Part(
        np.stack([part.accepted for part in parts]),
        {name: np.stack([part.observables[name] for part in parts]) for name in parts[0].observables},
        np.stack(fields) if fields else None,
        np.stack([part.log_weight for part in parts if part.log_weight is not None]),
    )


def default_batch(volume: int) -> int:
    """Proposals of `volume` sites in a compiled batch of one device."""
    return tuning().proposal_batch(volume)
