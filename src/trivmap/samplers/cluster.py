"""Embedded Ising clusters and local Metropolis updates: the reference sampler of ferromagnetic scalar fields."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from trivmap._types import Key
from trivmap.actions import AbstractAction
from trivmap.actions.action import scalar_coefficients
from trivmap.errors import InputError
from trivmap.extras import require
from trivmap.lattice import Lattice

_START = 2**62
"""Index of the step whose random numbers make the initial configuration; no chain reaches it."""


@dataclass(frozen=True)
class SwendsenWang:
    """All clusters of the lattice, each flipped with probability 1/2 (doi:10.1103/PhysRevLett.58.86)."""


@dataclass(frozen=True)
class Wolff:
    """`clusters` clusters in turn, each grown from a random site and flipped (doi:10.1103/PhysRevLett.62.361).

    The number is fixed before the chain starts: a rule that depends on the cluster sizes in the chain would spoil
    exactness. None leaves it to the driver's warm-up (the bare kernel then grows one). Raises `InputError` if it is
    below 1.
    """

    clusters: int | None = None

    def __post_init__(self):
        if self.clusters is not None and self.clusters < 1:
            raise InputError(f"clusters: a Wolff update needs at least 1 cluster, got {self.clusters}")


class ClusterState(NamedTuple):
    """The configuration, float64 of the lattice's shape; it is never changed in place."""

    field: np.ndarray


class ClusterInfo(NamedTuple):
    """The outcome of steps, shape (steps,) each, or () for one step.

    `acceptance`: accepted share of the Metropolis proposals. `cluster_size`: <n> / V for the cluster of a random site,
    n its sites (sum n^2 / V^2 over all clusters of Swendsen-Wang, the mean n / V of Wolff's: their means agree); 0
    without clusters. `clusters`: their number.
    """

    acceptance: np.ndarray
    cluster_size: np.ndarray
    clusters: np.ndarray


class ClusterCycle:
    """Host kernel: a cluster update of the signs (Brower and Tamayo, doi:10.1103/PhysRevLett.62.1087), then Metropolis.

    For any S = sum_x [ c1 sum_mu phi(x) phi(x+mu) + c2 phi^2 + c4 phi^4 ] with c1 < 0 (`action.coefficients`), in any
    dimension. Given |phi|, the signs are an Ising model with the coupling |c1 phi_x phi_y| on each link: equal signs
    are joined with probability 1 - exp(-2 |c1| phi_x phi_y), and clusters are flipped. The `sweeps` Metropolis sweeps,
    of `hits` proposals phi + width (u - 1/2) per site, u uniform in (0, 1), move |phi|. With `update` None there are no
    clusters: Metropolis alone, for comparison.

    Fields are float64 NumPy arrays of `lattice.shape`. Compiled by numba at the first step.

    Raises `InputError` for an action without coefficients, without the symmetry "z2", with c1 >= 0 or of another
    dimension, and unless `sweeps`, `hits` and `width` are positive.
    """

    def __init__(
        self,
        action: AbstractAction,
        lattice: Lattice,
        update: SwendsenWang | Wolff | None = SwendsenWang(),
        *,
        sweeps: int = 2,
        hits: int = 1,
        width: float = 3.0,
    ):
        require("runs", "cluster updates", "numba")
        self.coefficients = _ferromagnetic(action, lattice)
        if sweeps < 1 or hits < 1:
            raise InputError(
                f"sweeps, hits: must be at least 1, got {sweeps} and {hits}; clusters alone never change |phi|"
            )
        if not 0 < width < math.inf:
            raise InputError(f"width: must be positive and finite, got {width}")
        self.lattice, self.update = lattice, update
        self.sweeps, self.hits, self.width = sweeps, hits, float(width)

    def init(self, key: Key, *, chain: int = 0) -> ClusterState:
        """A hot start: independent Gaussian numbers."""
        from trivmap.samplers import numba_kernels

        c1, c2, c4 = self.coefficients
        # The scale of a single site, with the quadratic term bounded below: only the warm-up depends on it.
        scale = 1 / math.sqrt(2 * abs(c1) + math.sqrt(abs(c4)) + max(c2, 0.0))
        flat = np.empty(self.lattice.volume)
        numba_kernels.scatter(flat, scale, seed_of(key), np.uint64(chain), np.uint64(_START))
        return ClusterState(flat.reshape(self.lattice.shape))

    def step(self, key: Key, state: ClusterState) -> tuple[ClusterState, ClusterInfo]:
        """One cycle; the same as step 0 of chain 0 of `run` with this key."""
        field = np.array(state.field, np.float64, order="C")
        info = self.run(field, seed_of(key), 0, 0, 1)
        return ClusterState(field), ClusterInfo(*(values[0] for values in self.rates(info)))

    def run(
        self,
        field: np.ndarray,
        seed: np.uint64,
        chain: int,
        start: int,
        stop: int,
        *,
        width: float | None = None,
        clusters: int | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Steps `start` <= i < `stop` of a chain on `field`, which is changed IN PLACE; the GIL is released meanwhile.

        Step i depends only on (`seed`, `chain`, i) and the field before it. `field`: float64, C-contiguous. `width` and
        `clusters` (of a Wolff update) replace the kernel's values. `out`, float64 (stop - start, V), receives the field
        after every step. Returns integers (stop - start, 3), see `rates`.
        """
        from trivmap.samplers import numba_kernels

        if field.dtype != np.float64 or field.shape != self.lattice.shape or not field.flags.c_contiguous:
            raise InputError(
                f"field: needs contiguous float64 of shape {self.lattice.shape}, to be changed in place, got "
                f"{field.dtype} of shape {field.shape}"
            )
        if isinstance(self.update, Wolff):
            number = clusters or self.update.clusters or 1
        else:
            number = 0 if self.update is None else numba_kernels.SWENDSEN_WANG
        back, ahead, neighbors = self._tables
        info = np.empty((stop - start, 3), np.int64)
        numba_kernels.run(
            field.reshape(-1, self.lattice.shape[-1]),
            back,
            ahead,
            neighbors,
            *self.coefficients,
            number,
            self.sweeps,
            self.hits,
            self.width if width is None else float(width),
            seed,
            np.uint64(chain),
            start,
            stop,
            np.empty((0, 0)) if out is None else out,
            info,
        )
        return info

    def rates(self, info: np.ndarray, *, steps: int = 1) -> ClusterInfo:
        """`ClusterInfo` of the integers (..., 3) that `run` returns, or of their sums over `steps` steps."""
        accepted, weight, clusters = np.moveaxis(info, -1, 0)
        volume = self.lattice.volume
        trees = np.maximum(clusters, 1) if isinstance(self.update, Wolff) else volume * steps
        return ClusterInfo(accepted / (volume * self.sweeps * self.hits * steps), weight / (trees * volume), clusters)

    @cached_property
    def _tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The rows before and after each row along all axes but the last, and the 2d neighbors of each site."""
        shape = self.lattice.shape
        rows, sites = np.arange(math.prod(shape[:-1])).reshape(shape[:-1]), np.arange(math.prod(shape)).reshape(shape)

        def beside(table: np.ndarray, shift: int) -> list[np.ndarray]:
            return [np.roll(table, shift, axis).ravel() for axis in range(table.ndim)]

        def columns(tables: list[np.ndarray], count: int, dtype: type) -> np.ndarray:
            return np.ascontiguousarray(np.array(tables, dtype).reshape(len(tables), count).T)

        return (
            columns(beside(rows, 1), rows.size, np.int64),
            columns(beside(rows, -1), rows.size, np.int64),
            columns(beside(sites, 1) + beside(sites, -1), sites.size, np.int32),
        )


def seed_of(key: Key) -> np.uint64:
    """64 random bits from a key: the seed of a host kernel."""
    high, low = (int(word) for word in np.asarray(jax.random.bits(key, (2,), jnp.uint32)))
    return np.uint64(high << 32 | low)


def _ferromagnetic(action: AbstractAction, lattice: Lattice) -> tuple[float, float, float]:
    """(c1, c2, c4) of an action for which cluster updates work."""
    needs = "cluster updates need S = sum_x [c1 sum_mu phi(x) phi(x+mu) + c2 phi^2 + c4 phi^4] with c1 < 0"
    found = scalar_coefficients(action)
    if found is None or "z2" not in action.symmetries:
        raise InputError(f"action: {needs}, and {type(action).__name__} is not of this form; use HMC")
    # The action itself refuses a field of the wrong dimension.
    jax.eval_shape(action, jax.ShapeDtypeStruct(lattice.shape, jnp.float32))
    c1, c2, c4 = (float(c) for c in found)
    if not c1 < 0:
        raise InputError(f"action: {needs} (ferromagnetic), got c1={c1:g}; use HMC")
    return c1, c2, c4
