"""Chains of cluster updates: one thread per chain, adapted only in the warm-up, measured during the run."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from trivmap._types import Key
from trivmap.ahead import processors
from trivmap.errors import InputError
from trivmap.observables.host import measure_on_host
from trivmap.samplers.cluster import ClusterCycle, SwendsenWang, Wolff, seed_of
from trivmap.simulation.driver import AbstractDriver, Done, Measure, Part, State, unheard
from trivmap.simulation.proposals import default_batch

_WARMUP = 2**61
"""Index of the first warm-up step: far from the steps of a chain, so that none shares its random numbers."""
_ADAPTATION = 10
"""Steps between two adaptations."""
_TARGET = 0.5
"""Target acceptance of the Metropolis proposals in the warm-up."""

Columns = dict[str, np.ndarray]


class ClusterChains(AbstractDriver):
    """Chains of a `ClusterCycle`, each from its own hot start.

    The first half of the `warmup` steps tunes the width of the Metropolis proposals to an acceptance of one half and,
    for a `Wolff` update without a number of clusters, the number that makes V sites on average. The second half and all
    later steps run with both fixed. Observables are those of `trivmap.observables.measure`, from NumPy, or those of a
    given `measure` (JAX, of one configuration), with those of `also` (JAX, of one configuration), and in addition

    - `metropolis_acceptance`: accepted share of the Metropolis proposals of the step;
    - `cluster_size`: see `ClusterInfo`.

    With `two_point` False this observable is left out of the NumPy measurements, where it takes most of the time.

    `threads` chains run at a time (None: the available processors), without the GIL. Results do not depend on it.

    Raises `InputError` unless there is a chain, and the warm-up has at least 20 steps.
    """

    def __init__(
        self,
        kernel: ClusterCycle,
        key: Key,
        *,
        chains: int = 4,
        warmup: int = 200,
        measure: Measure | None = None,
        also: Measure | None = None,
        two_point: bool = True,
        threads: int | None = None,
    ):
        if chains < 1:
            raise InputError(f"chains: needs at least 1, got {chains}")
        if warmup < 2 * _ADAPTATION:
            raise InputError(f"warmup: cluster updates need at least {2 * _ADAPTATION} steps, got {warmup}")
        self.kernel, self.chains, self.warmup = kernel, chains, warmup
        self._key, self._seed = key, seed_of(key)
        volume = kernel.lattice.volume
        # NumPy's temporary arrays of a batch should stay in the caches; a compiled program needs more work per call.
        self.batch = default_batch(volume) if measure else int(np.clip(2**15 // volume, 4, 1024))
        self.stride = self.batch if measure else 1
        self.threads = min(chains, threads or processors())
        self._two_point = two_point
        self._measure = self._on_host if measure is None else self._by(measure)
        self._measure_also = (lambda fields: {}) if also is None else self._by(also)

    def start(self) -> State:
        warmed = self._each(self._warm_up)
        fields, widths, clusters = zip(*warmed, strict=True)
        return {
            "fields": np.stack(fields),
            "width": np.array(widths),
            "clusters": np.array(clusters),
            "totals": np.zeros((self.chains, 4), np.int64),
        }

    def part(
        self, state: State, start: int, stop: int, *, thin: int | None = None, done: Done = unheard
    ) -> tuple[Part, State]:
        advanced = self._each(lambda chain: self._advance(state, chain, start, stop, thin))
        columns, present, totals, kept = zip(*advanced, strict=True)
        done((stop - start) * self.chains)
        new = state | {"fields": np.stack(present), "totals": state["totals"] + np.stack(totals)}
        part = Part(
            accepted=np.ones((self.chains, stop - start), bool),
            observables={name: np.stack([each[name] for each in columns]) for name in columns[0]},
            fields=np.stack(kept) if thin else None,
        )
        return part, new

    def diagnostics(self, state: State) -> dict[str, Any]:
        steps, *sums = state["totals"].sum(axis=0)
        names = {SwendsenWang: "swendsen-wang", Wolff: "wolff", type(None): "none"}
        facts = {
            "update": names[type(self.kernel.update)],
            "sweeps": self.kernel.sweeps,
            "hits": self.kernel.hits,
            "warmup": self.warmup,
            "width": [float(width) for width in state["width"]],
        }
        if not steps:
            return facts
        rates = self.kernel.rates(np.array(sums), steps=int(steps))
        return facts | {
            "metropolis_acceptance": float(rates.acceptance),
            "cluster_size": float(rates.cluster_size),
            "clusters_per_step": float(sums[2] / steps),
        }

    def _each(self, work: Callable[[int], Any]) -> list[Any]:
        if self.threads == 1:
            return [work(chain) for chain in range(self.chains)]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(work, range(self.chains)))

    def _warm_up(self, chain: int) -> tuple[np.ndarray, float, int]:
        """The field, the width and the number of clusters per step (0 if the kernel does not choose it)."""
        kernel, update = self.kernel, self.kernel.update
        tuned = isinstance(update, Wolff) and update.clusters is None
        field, width, clusters = kernel.init(self._key, chain=chain).field, kernel.width, int(tuned)
        half = self.warmup // 2
        for start in range(0, half, _ADAPTATION):
            stop = min(start + _ADAPTATION, half)
            info = kernel.run(
                field, self._seed, chain, _WARMUP + start, _WARMUP + stop, width=width, clusters=clusters or None
            )
            rates = kernel.rates(info)
            width *= float(np.exp(np.mean(rates.acceptance) - _TARGET))
            if tuned:
                clusters = int(np.clip(round(1 / np.mean(rates.cluster_size)), 1, kernel.lattice.volume))
        kernel.run(
            field, self._seed, chain, _WARMUP + half, _WARMUP + self.warmup, width=width, clusters=clusters or None
        )
        return field, width, clusters

    def _advance(
        self, state: State, chain: int, start: int, stop: int, thin: int | None
    ) -> tuple[Columns, np.ndarray, np.ndarray, np.ndarray | None]:
        """One chain's columns, last field, sums over the steps, and every `thin`-th field unless that is None."""
        kernel, shape = self.kernel, self.kernel.lattice.shape
        field = np.array(state["fields"][chain], np.float64)
        width, clusters = float(state["width"][chain]), int(state["clusters"][chain]) or None
        columns: Columns = {}
        kept, totals = [], np.zeros(4, np.int64)
        buffer = np.empty((min(self.batch, stop - start), kernel.lattice.volume))
        for first in range(start, stop, self.batch):
            last = min(first + self.batch, stop)
            out = buffer[: last - first]
            info = kernel.run(field, self._seed, chain, first, last, width=width, clusters=clusters, out=out)
            fields = out.reshape(-1, *shape)
            rates = kernel.rates(info)
            measured = (
                self._measure(fields)
                | self._measure_also(fields)
                | {
                    "metropolis_acceptance": rates.acceptance,
                    "cluster_size": rates.cluster_size,
                }
            )
            if not columns:
                columns = {name: np.empty((stop - start, *v.shape[1:]), v.dtype) for name, v in measured.items()}
            for name, values in measured.items():
                columns[name][first - start : last - start] = values
            if thin:
                kept.append(fields[-first % thin :: thin].copy())
            totals += [last - first, *info.sum(axis=0)]
        return columns, field, totals, np.concatenate(kept) if thin else None

    def _on_host(self, fields: np.ndarray) -> Columns:
        return measure_on_host(self.kernel.coefficients, fields, two_point=self._two_point)

    def _by(self, measure: Measure) -> Callable[[np.ndarray], Columns]:
        many = jax.jit(jax.vmap(measure))

        def measured(fields: np.ndarray) -> Columns:
            # Padded to the batch size, so that one program serves all.
            padded = np.resize(fields, (self.batch, *fields.shape[1:]))
            return {name: np.asarray(values)[: len(fields)] for name, values in many(padded).items()}

        return measured
