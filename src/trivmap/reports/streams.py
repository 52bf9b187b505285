"""Histograms and autocorrelations of a sampler's history, read block by block so that memory stays bounded."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from trivmap.observables.agreement import order_parameter
from trivmap.observables.history import History, last_accepted

_BLOCK = 2**18
_BATCHES = 64
_LARGEST_LAG = 1024
_SHOWN = 1000


@dataclass(frozen=True)
class LogWeightHistogram:
    """Densities of log w - log Z over the proposals and over the target; moments over the proposals.

    `invalid` counts the log-weights that are NaN or +inf; they are in none of the densities.
    """

    edges: np.ndarray
    proposals: np.ndarray
    target: np.ndarray
    mean: float
    variance: float
    invalid: int


@dataclass(frozen=True)
class ChainStatistics:
    """The chain for the report: distribution and history of m, autocorrelation of |m|, runs of rejections.

    `order` is the name of m, the `order_parameter` of the history.
    `rejection_runs[n]` counts runs of exactly n rejections ended by an acceptance. `rejection_runs`, `reweighted`
    (density, error) and `acceptance` are None for a history of the chain itself instead of its proposals.
    """

    order: str
    edges: np.ndarray
    density: np.ndarray
    density_error: np.ndarray
    reweighted: tuple[np.ndarray, np.ndarray] | None
    steps: np.ndarray
    histories: np.ndarray
    rho: np.ndarray
    rho_error: np.ndarray
    rejection_runs: np.ndarray | None
    acceptance: float | None


def log_weight_histogram(history: History) -> LogWeightHistogram:
    """The histogram of log w - log Z, Z estimated by the mean weight; low outliers (beyond 6 s) fall outside."""
    count, total, squares, invalid = 0, 0.0, 0.0, 0
    low, high, shift = np.inf, -np.inf, None
    for chain, start, stop in _blocks(history):
        values = history.read("log_weight", chain, start, stop)
        finite = values[np.isfinite(values)]
        invalid += int(np.sum(np.isnan(values) | np.isposinf(values)))
        if not len(finite):
            continue
        # Moments are taken about a fixed point near the mean: sums of squares of large log-weights would lose digits.
        shift = float(finite.mean()) if shift is None else shift
        count, total = count + len(finite), total + float(np.sum(finite - shift))
        squares += float(np.sum((finite - shift) ** 2))
        low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if count < 2 or shift is None:
        raise ValueError("no finite log-weights")
    bins = _bins(count)
    mean, variance = total / count, (squares - total**2 / count) / (count - 1)
    low = max(low, shift + mean - 6 * np.sqrt(variance)) - 1e-9
    edges = np.linspace(low, high + 1e-9 + 1e-3 * (high - low), bins + 1)
    plain, weighted, weight = np.zeros(bins), np.zeros(bins), 0.0
    for chain, start, stop in _blocks(history):
        values = history.read("log_weight", chain, start, stop)
        finite = values[np.isfinite(values)]
        weights = np.exp(finite - high)
        weight += float(weights.sum())
        plain += np.histogram(finite, edges)[0]
        weighted += np.histogram(finite, edges, weights=weights)[0]
    log_z = high + np.log(weight / count)
    width = edges[1] - edges[0]
    return LogWeightHistogram(
        edges - log_z, plain / (count * width), weighted / (weight * width), shift + mean - log_z, variance, invalid
    )


def chain_statistics(history: History) -> ChainStatistics:
    """Stream the order parameter of every chain through histograms, autocorrelations and runs of rejections.

    For drawing, 1000 steps of the history of at most four chains are kept.
    """
    proposals = history.attrs.get("history") == "proposals"
    low, high, largest, total, count = np.inf, -np.inf, -np.inf, 0.0, 0
    for _, values, drawn, log_weights in _measured(history, proposals):
        low, high = min(low, values.min(), drawn.min()), max(high, values.max(), drawn.max())
        total, count = total + float(np.abs(values).sum()), count + len(values)
        if log_weights is not None:
            largest = max(largest, float(np.max(log_weights, initial=-np.inf, where=np.isfinite(log_weights))))
    margin, bins = 1e-9 + 1e-3 * (high - low), _bins(count)
    edges = np.linspace(low - margin, high + margin, bins + 1)
    # One entry for every block of the history.
    counts, sizes, weighted, weights = [], [], [], []
    covariance, pairs = np.zeros((2, min(_LARGEST_LAG, max(history.n - history.warmup, 2) // 2)))
    shown: dict[int, list[np.ndarray]] = {}
    for chain, values, drawn, log_weights in _measured(history, proposals):
        counts.append(np.histogram(values, edges)[0].astype(float))
        sizes.append(len(values))
        padded = np.fft.rfft(np.abs(values) - total / count, 2 * len(values))
        lags = min(len(covariance), len(values))
        covariance[:lags] += np.fft.irfft(np.abs(padded) ** 2, 2 * len(values))[:lags]
        pairs[:lags] += len(values) - np.arange(lags)
        if log_weights is not None:
            known = ~(np.isnan(log_weights) | np.isposinf(log_weights))
            relative = np.exp(log_weights[known] - largest)
            weighted.append(np.histogram(drawn[known], edges, weights=relative)[0])
            weights.append(float(relative.sum()))
        kept = shown.setdefault(chain, []) if chain < 4 else []
        if chain < 4 and sum(map(len, kept)) < _SHOWN:
            kept.append(values[: _SHOWN - sum(map(len, kept))])
    histories = [np.concatenate(pieces) for pieces in shown.values()]
    shortest = min(map(len, histories))
    width = edges[1] - edges[0]
    density, error = _ratio(np.stack(counts), np.array(sizes))
    reweighted = _ratio(np.stack(weighted), np.array(weights)) if proposals else None
    rho, rho_error = _normalized(covariance, pairs)
    runs, acceptance = _rejection_runs(history) if proposals else (None, None)
    return ChainStatistics(
        order=order_parameter(history.names),
        edges=edges,
        density=density / width,
        density_error=error / width,
        reweighted=(reweighted[0] / width, reweighted[1] / width) if reweighted else None,
        steps=history.warmup + np.arange(shortest),
        histories=np.stack([values[:shortest] for values in histories]),
        rho=rho,
        rho_error=rho_error,
        rejection_runs=runs,
        acceptance=acceptance,
    )


def rejections_in_a_row(runs: np.ndarray, lags: int) -> np.ndarray:
    """P(t given consecutive proposals are all rejected), t = 0 .. lags - 1, from the counts of runs of each length."""
    length = np.arange(len(runs))
    total = float(np.sum(runs * (length + 1)))
    if not total:
        # Nothing was accepted, so no run has ended.
        return np.ones(lags)
    inside = [float(np.sum(runs * np.clip(length - t + 1, 0, None))) for t in range(1, lags)]
    return np.array([1.0, *(value / total for value in inside)])


def _bins(values: int) -> int:
    return int(np.clip(2 * values ** (1 / 3), 24, 80))


def _blocks(history: History, start: int | None = None) -> Iterator[tuple[int, int, int]]:
    start = history.warmup if start is None else start
    per_chain = max(8, _BATCHES // history.chains)
    size = min(_BLOCK, max(1, -(-(history.n - start) // per_chain)))
    for chain in range(history.chains):
        for first in range(start, history.n, size):
            yield chain, first, min(first + size, history.n)


def _measured(history: History, proposals: bool) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray | None]]:
    """Blocks of (chain number, chain's m, drawn m, log-weights); the warm-up is followed but not returned."""
    current, last_chain, order = None, -1, order_parameter(history.names)
    for chain, start, stop in _blocks(history, 0 if proposals else None):
        drawn = history.read(order, chain, start, stop).astype(np.float64)
        values, log_weights = drawn, None
        if proposals:
            accepted = history.read("accepted", chain, start, stop)
            current = None if chain != last_chain else current
            values, last_chain = _follow(drawn, accepted, current), chain
            current = float(values[-1])
            log_weights = history.read("log_weight", chain, start, stop)
        skip = max(0, history.warmup - start)
        if skip < stop - start:
            yield chain, values[skip:], drawn[skip:], None if log_weights is None else log_weights[skip:]


def _follow(drawn: np.ndarray, accepted: np.ndarray, current: float | None) -> np.ndarray:
    """The chain: at each step the last accepted proposal; a chain starts with its first proposal."""
    index = last_accepted(accepted)
    return np.where(index < 0, drawn[0] if current is None else current, drawn[np.maximum(index, 0)])


def _ratio(numerators: np.ndarray, denominators: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """sum numerators / sum denominators over batches, with the error from their scatter."""
    total = denominators.sum()
    value = numerators.sum(axis=0) / total
    residual = numerators - denominators[:, None] * value
    batches = len(denominators)
    return value, np.sqrt(np.sum(residual**2, axis=0) * batches / max(batches - 1, 1)) / total


def _normalized(covariance: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """rho(t) and its error by Madras and Sokal's sum in Luescher's form (hep-lat/0409106, eq. E.11)."""
    known = pairs > 0
    gamma = covariance[known] / pairs[known]
    rho = gamma / gamma[0] if gamma[0] > 0 else np.concatenate([[1.0], np.zeros(len(gamma) - 1)])
    below = np.flatnonzero(rho < 0.02)
    lags = min(len(rho), max(20, 3 * int(below[0]) if len(below) else len(rho)))
    padded = np.concatenate([rho, np.zeros(2 * len(rho))])
    error = np.zeros(lags)
    for t in range(1, lags):
        k = np.arange(1, min(t + lags, len(rho)))
        terms = padded[k + t] + padded[np.abs(k - t)] - 2 * padded[k] * padded[t]
        error[t] = np.sqrt(np.sum(terms**2) / pairs[0])
    return rho[:lags], error


def _rejection_runs(history: History) -> tuple[np.ndarray, float]:
    counts, accepted_total, last_chain, previous = np.zeros(1, dtype=np.int64), 0, -1, -1
    for chain, start, stop in _blocks(history):
        previous = start - 1 if chain != last_chain else previous
        last_chain = chain
        accepted = np.flatnonzero(history.read("accepted", chain, start, stop)) + start
        if not len(accepted):
            continue
        runs = np.bincount(np.diff(accepted, prepend=previous) - 1)
        counts = np.pad(counts, (0, max(0, len(runs) - len(counts))))
        counts[: len(runs)] += runs
        accepted_total, previous = accepted_total + len(accepted), int(accepted[-1])
    return counts, accepted_total / (history.chains * (history.n - history.warmup))
