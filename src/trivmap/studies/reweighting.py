"""Reweighting between couplings: simulations at several beta of exp(beta E - S_0), joined into one estimate."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

_BINS = 4096
_TOLERANCE = 1e-8
_ITERATIONS = 1000


class Ensemble(NamedTuple):
    """Samples at one coupling: `energy` E = -dS/dbeta, extensive, and `values` by name, shape (chains, n) each."""

    beta: float
    energy: np.ndarray
    values: Mapping[str, np.ndarray]


class MultiHistogram:
    """Means at any coupling near those simulated (Ferrenberg and Swendsen, doi:10.1103/PhysRevLett.63.1195).

    With N_k samples at beta_k, a sample of energy E has at any beta the weight

        w(E; beta) = exp(beta E) / sum_k N_k exp(f_k + beta_k E),   exp(-f_k) = sum over samples of w(E; beta_k),

    solved for f by iteration (MBAR, arXiv:0801.1426): energies at neighboring couplings have to overlap. Samples enter
    as a histogram of `energy`, (bins,), the mean energy in each bin, with `samples` in each and the sums of each of the
    `values` over them.
    """

    def __init__(
        self,
        betas: np.ndarray,
        counts: np.ndarray,
        energy: np.ndarray,
        samples: np.ndarray,
        values: Mapping[str, np.ndarray],
        start: np.ndarray | None = None,
    ):
        self._energy, self._samples, self._values = energy, samples, values
        exponents = np.multiply.outer(energy, betas)
        # A common factor in a bin drops out of w: the largest exponent of each bin is set to 0.
        shift = exponents.max(axis=1)
        boltzmann = np.exp(exponents - shift[:, None])
        free = np.zeros(len(betas)) if start is None else start
        for _ in range(_ITERATIONS):
            mixture = boltzmann @ (counts * np.exp(free))
            new = -np.log((samples / mixture) @ boltzmann)
            new -= new[0]
            change, free = np.max(np.abs(new - free)), new
            if change < _TOLERANCE:
                break
        self._log_mixture = np.log(boltzmann @ (counts * np.exp(free))) + shift
        self.free = free
        """f_k - f_0."""

    def means(self, beta: float) -> dict[str, float]:
        """The mean of every value at `beta`."""
        weights = self._weights(beta)
        total = weights @ self._samples
        return {name: float(weights @ sums / total) for name, sums in self._values.items()}

    def effective_share(self, beta: float) -> float:
        """(sum w)^2 / (N sum w^2): 1 at the coupling of a single simulation, close to 0 far from all of them."""
        weights = self._weights(beta)
        total, squares = weights @ self._samples, weights**2 @ self._samples
        return float(total**2 / (self._samples.sum() * squares))

    def _weights(self, beta: float) -> np.ndarray:
        exponents = beta * self._energy - self._log_mixture
        return np.exp(exponents - exponents[self._samples > 0].max())


def joined(ensembles: Sequence[Ensemble], blocks: int) -> tuple[MultiHistogram, list[MultiHistogram]]:
    """All samples; and, for each of the `blocks` of each chain, all samples without that block in every ensemble.

    The jackknife over these chains * blocks estimates is valid if a block is long compared with the autocorrelation
    time. Every ensemble needs the same number of chains. The 4096 bins over all energies change a mean by less than
    1e-5 of the standard deviation of single samples while beta stays in the range of the ensembles.
    """
    betas = np.array([each.beta for each in ensembles])
    groups = ensembles[0].energy.shape[0] * blocks
    energy = np.concatenate([each.energy.ravel() for each in ensembles])
    energy = energy - energy.mean()
    scale = _BINS / max(float(np.ptp(energy)), np.finfo(float).tiny)
    place = np.minimum(((energy - energy.min()) * scale).astype(np.int64), _BINS - 1)
    block = np.concatenate([_blocks(each.energy.shape, blocks).ravel() for each in ensembles])

    def histogram(values: np.ndarray | None) -> np.ndarray:
        """The values of each block, (groups, bins)."""
        return np.bincount(block * _BINS + place, values, groups * _BINS).reshape(groups, _BINS)

    samples = histogram(None)
    filled = samples.sum(axis=0) > 0
    mean_energy = histogram(energy).sum(axis=0)[filled] / samples.sum(axis=0)[filled]
    samples = samples[:, filled].astype(np.float64)
    names = list(ensembles[0].values)
    sums = {
        name: histogram(np.concatenate([each.values[name].ravel() for each in ensembles]))[:, filled] for name in names
    }
    counts = np.array([np.bincount(_blocks(each.energy.shape, blocks).ravel(), minlength=groups) for each in ensembles])

    def estimate(kept: np.ndarray, start: np.ndarray | None) -> MultiHistogram:
        totals = {name: kept @ each for name, each in sums.items()}
        return MultiHistogram(betas, counts @ kept, mean_energy, kept @ samples, totals, start)

    whole = estimate(np.ones(groups), None)
    return whole, [estimate(1.0 - unit, whole.free) for unit in np.eye(groups)]


def _blocks(shape: tuple[int, ...], blocks: int) -> np.ndarray:
    """The block of each sample of (chains, n); every chain has its own blocks."""
    chains, count = shape
    return np.arange(chains)[:, None] * blocks + (np.arange(count) * blocks) // count
