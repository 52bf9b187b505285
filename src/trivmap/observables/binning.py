"""One streaming pass over a history: bin means, weighted bin means and the covariance of single configurations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trivmap.errors import InputError
from trivmap.observables.catalog import CATALOG, OF_SAMPLERS, Catalog
from trivmap.observables.history import History
from trivmap.observables.observable import Mean

_BINS = 1000
_BINS_PER_CHAIN = 50
_LEAST_BINS_PER_CHAIN = 5
_CHUNK_BYTES = 2**25
OF_STEPS = {each.name for each in OF_SAMPLERS if isinstance(each, Mean)}
"""Measurements of a chain's step, not of its configuration: they change even if the configuration does not."""
_STEPS_OF_A_BIN = 8
"""Steps in a bin of such a measurement. Successive values are anticorrelated: a trajectory compensates for the energy
error of the one before it. The Gamma method ignores negative correlations between bins."""
_LEAST_JOINED = 20
"""Fewest bins of a chain that joining may leave."""


@dataclass(frozen=True)
class Columns:
    """The columns of each primary quantity in a table; the first `block` columns have covariances."""

    slices: dict[str, slice]
    shapes: dict[str, tuple[int, ...]]
    block: int
    total: int
    catalog: Catalog

    def split(self, block: np.ndarray) -> dict[str, np.ndarray]:
        """The primaries of the block by name, in their own shapes, from a vector of the block's columns."""
        inside = {name: where for name, where in self.slices.items() if where.stop <= self.block}
        return {name: block[where].reshape(self.shapes[name]) for name, where in inside.items()}


@dataclass(frozen=True)
class Bins:
    """The result of the streaming pass over a history of any length; it takes a few megabytes.

    `chain` (chains, bins, columns): means over the chain's configurations in each bin. `covariance` (block, block)
    and `variance` (columns,): of single configurations. `moves`: steps at which a measured value changed;
    `longest_stand`: the most steps in a row without a change; `unstarted`: chains that held no accepted proposal when
    their measurements began. `sign_changes`: steps at which the magnetization changed its sign, None without it.
    `weight` (chains, bins) and `weighted` (chains, bins, columns): sums of w and w O over the proposals in each bin, w
    scaled to a largest value of 1; None without weights.
    """

    columns: Columns
    length: int
    chain: np.ndarray
    covariance: np.ndarray
    variance: np.ndarray
    moves: int
    longest_stand: int
    unstarted: int
    sign_changes: int | None
    weight: np.ndarray | None
    weighted: np.ndarray | None
    effective_samples: float
    invalid_weights: int

    @property
    def configurations(self) -> int:
        """Configurations in the bins, all chains together."""
        return self.chain.shape[0] * self.chain.shape[1] * self.length


def bin_history(
    history: History, bins: int | None = None, *, in_block: Sequence[str] = (), catalog: Catalog = CATALOG
) -> Bins:
    """Average the configurations of every chain over equal bins, in one pass that holds one chunk at a time.

    `bins` counts all chains together; the default is about 1000, but at least 50 in each chain. With enough data, a bin
    is then long compared with the autocorrelation time, and the Gamma method sees the remaining correlation. Bins of a
    chain have equal length; the excess steps (less than a bin) are skipped after the warm-up. `in_block`: the primaries
    whose covariances are wanted. `catalog` defines the primaries.

    Raises `InputError` if a chain has fewer than 5 steps or bins to measure.
    """
    length, count = _layout(history, bins)
    columns = _columns(history, in_block, catalog)
    first = history.n - length * count
    weights = history.attrs["history"] == "proposals"
    log_scale, invalid = _largest_log_weight(history, first) if weights else (0.0, 0)
    sign = columns.slices["magnetization"].start if "magnetization" in columns.slices else None
    state_columns = np.concatenate(
        [np.arange(where.start, where.stop) for name, where in columns.slices.items() if name not in OF_STEPS]
        or [np.zeros(0, np.int64)]
    )

    chain = np.zeros((history.chains, count, columns.total))
    weight, weighted = np.zeros((history.chains, count)), np.zeros_like(chain)
    second, squares = np.zeros((columns.block, columns.block)), np.zeros(columns.total)
    squared_weight, moves, longest, unstarted, sign_changes = 0.0, 0, 0, 0, 0
    offset: np.ndarray | None = None
    rows = max(1, _CHUNK_BYTES // (8 * columns.total))
    for c in range(history.chains):
        last = _last_accepted(history, c, first) if weights else first - 1
        unstarted += int(last < 0 and not _accepted(history, c, first, first + 1)[0])
        standing = first - 1 - last if weights else 0
        for start in range(first, history.n, rows):
            stop = min(start + rows, history.n)
            accepted = _accepted(history, c, start, stop)
            table = _table(history, columns, c, start, stop, last)
            if offset is None:
                # Everything is summed relative to one configuration: the variance of a large, hardly fluctuating
                # number would be lost in the difference of squares.
                offset = np.where(np.isfinite(table[1]), table[1], 0.0)
            table -= offset
            # Row 0 of the table is the configuration carried into the chunk, row i + 1 proposal start + i.
            state = np.maximum.accumulate(np.where(accepted, np.arange(1, stop - start + 1), 0))
            configurations = table[np.concatenate([[0], state])]
            before, after = configurations[:-1, state_columns], configurations[1:, state_columns]
            changed = np.any((before != after) & ~(np.isnan(before) & np.isnan(after)), axis=1)
            if sign is not None:
                signs = configurations[:, sign] + offset[sign] > 0
                sign_changes += int(np.sum(signs[1:] != signs[:-1]))
            configurations = configurations[1:]

            bin_of_start, bin_of_end = (start - first) // length, (stop - 1 - first) // length + 1
            edges = np.maximum(first + length * np.arange(bin_of_start, bin_of_end) - start, 0)
            here = slice(bin_of_start, bin_of_end)
            chain[c, here] += np.add.reduceat(configurations, edges)
            block = configurations[:, : columns.block]
            second += block.T @ block
            squares += np.einsum("ij,ij->j", configurations, configurations)
            if weights:
                w = _weights(history, c, start, stop, log_scale)
                weight[c, here] += np.add.reduceat(w, edges)
                # A proposal of weight zero may have an infinite measurement, and 0 * inf is not 0.
                table = np.where(w[:, None] > 0, table[1:], 0.0) * w[:, None]
                weighted[c, here] += np.add.reduceat(table, edges)
                squared_weight += float(w @ w)

            steps = np.flatnonzero(changed)
            moves += len(steps)
            stands = np.diff(np.concatenate([[-1 - standing], steps, [stop - start]])) - 1
            longest, standing = max(longest, int(stands.max())), int(stands[-1])
            # A chain enters the next chunk with its last entry; for proposals, this is the last accepted one.
            last = start + int(state[-1]) - 1 if state[-1] else last

    assert offset is not None
    total = history.chains * length * count
    mean = chain.sum(axis=(0, 1)) / total
    head = mean[: columns.block]
    return Bins(
        columns=columns,
        length=length,
        chain=chain / length + offset,
        covariance=second / total - np.outer(head, head),
        variance=squares / total - mean**2,
        moves=moves,
        longest_stand=longest,
        unstarted=unstarted,
        sign_changes=None if sign is None else sign_changes,
        weight=weight if weights else None,
        weighted=weighted + weight[..., None] * offset if weights else None,
        effective_samples=float(weight.sum() ** 2 / squared_weight) if squared_weight > 0 else 0.0,
        invalid_weights=invalid,
    )


def joined(series: np.ndarray, length: int) -> tuple[np.ndarray, int]:
    """Bins (chains, bins, entries) of step measurements, joined to bins of 8 steps, and the new length of a bin."""
    count = max(1, min(-(-_STEPS_OF_A_BIN // length), series.shape[1] // _LEAST_JOINED))
    usable = series.shape[1] // count * count
    return series[:, :usable].reshape(len(series), -1, count, series.shape[-1]).mean(axis=2), length * count


def _layout(history: History, bins: int | None) -> tuple[int, int]:
    """Length of a bin and number of bins in each chain."""
    usable = history.n - history.warmup
    if usable < _LEAST_BINS_PER_CHAIN:
        raise InputError(
            f"measure: {max(usable, 0)} steps of each chain are left after a warm-up of {history.warmup}; "
            f"at least {_LEAST_BINS_PER_CHAIN} are needed, so take more of them (in a run, raise sampling.proposals)"
        )
    wanted = max(math.ceil(_BINS / history.chains), _BINS_PER_CHAIN) if bins is None else bins // history.chains
    if wanted < _LEAST_BINS_PER_CHAIN:
        raise InputError(
            f"measure.bins: {bins} bins over {history.chains} chains are too few for an error; "
            f"give at least {_LEAST_BINS_PER_CHAIN * history.chains}, or null"
        )
    length = max(1, usable // wanted)
    return length, usable // length


def _columns(history: History, in_block: Sequence[str], catalog: Catalog) -> Columns:
    """The columns of all primaries, with those of the block first."""
    one = {name: history.read(name, 0, 0, 1) for name in history.names}
    shapes = {name: values.shape[1:] for name, values in catalog.primaries(one).items()}
    order = sorted(shapes, key=lambda name: name not in in_block)
    slices, position, block = {}, 0, 0
    for name in order:
        slices[name] = slice(position, position + math.prod(shapes[name]))
        position = slices[name].stop
        block = position if name in in_block else block
    return Columns(slices, shapes, block, position, catalog)


def _table(history: History, columns: Columns, chain: int, start: int, stop: int, last: int) -> np.ndarray:
    """Primaries of the configuration `last` (row 0) and of the entries start ... stop - 1, in float64."""
    table = np.empty((stop - start + 1, columns.total))
    carried = slice(last, last + 1) if last >= 0 else slice(start, start + 1)
    for name in history.names:
        pieces = ((0, carried), (1, slice(start, stop)))
        for row, piece in pieces:
            values = {name: history.read(name, chain, piece.start, piece.stop)}
            with np.errstate(over="ignore"):  # in proposals of no weight
                quantities = columns.catalog.primaries(values)
            for primary, entries in quantities.items():
                table[row : row + len(entries), columns.slices[primary]] = entries.reshape(len(entries), -1)
    return table


def _accepted(history: History, chain: int, start: int, stop: int) -> np.ndarray:
    if history.attrs["history"] == "proposals":
        return history.read("accepted", chain, start, stop)
    return np.ones(stop - start, bool)


def _last_accepted(history: History, chain: int, before: int) -> int:
    """The step whose proposal is the chain's configuration just before step `before`; -1 if there is none."""
    rows = _CHUNK_BYTES
    for stop in range(before, 0, -rows):
        start = max(stop - rows, 0)
        steps = np.flatnonzero(history.read("accepted", chain, start, stop))
        if len(steps):
            return start + int(steps[-1])
    return -1


def _weights(history: History, chain: int, start: int, stop: int, log_scale: float) -> np.ndarray:
    log_weight = history.read("log_weight", chain, start, stop)
    return np.where(log_weight < np.inf, np.exp(log_weight - log_scale), 0.0)


def _largest_log_weight(history: History, first: int) -> tuple[float, int]:
    """The largest finite log-weight after `first`, and the number that are NaN or +inf."""
    largest, invalid = -np.inf, 0
    for chain in range(history.chains):
        for start in range(first, history.n, _CHUNK_BYTES // 8):
            log_weight = history.read("log_weight", chain, start, min(start + _CHUNK_BYTES // 8, history.n))
            valid = log_weight < np.inf
            invalid += int(np.sum(~valid))
            largest = max(largest, float(np.max(log_weight, where=valid, initial=-np.inf)))
    return (largest if np.isfinite(largest) else 0.0), invalid
