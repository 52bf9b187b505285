"""The error analysis: from a history to observables with errors by the Gamma method (hep-lat/0306017, pyerrors).

A history is binned in one streaming pass. Every observable f is linearised at the means, f + grad f . (bin - mean),
which is what error propagation in the Gamma method does, and handed to pyerrors as one replica per chain.
"""

import hashlib
from typing import Any

import numpy as np

from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.observables.binning import Bins, bin_history
from trivmap.observables.correlator_fits import FitError, cosh_fit, default_start, plateau
from trivmap.observables.estimators import ESTIMATORS, gradient
from trivmap.observables.history import History
from trivmap.observables.results import Estimates, Results, gamma_method

_FITS = {"correlation_length_arccosh": plateau, "correlation_length_cosh_fit": cosh_fit}
_HIDDEN = ("magnetization_squared", "magnetization_fourth")
_DIFFERENTIATED = ("correlator", *{name for estimator in ESTIMATORS for name in estimator.needs})
_LEAST_INDEPENDENT = 50
_INVALID_SHARE = 1e-4
_LEAST_EFFECTIVE_SAMPLES = 100
_NOT_A_NUMBER = "it is not a number"


def analyse(
    history: History, *, bins: int | None = None, fit_start: int | None = None, ensemble: str | None = None
) -> Results:
    """Means, derived observables and their errors from the chains and, where there are weights, by reweighting.

    Every measurement of the history gets its mean under its own name; |m|, what `estimators.ESTIMATORS` lists and the
    two correlator fits come with them, as far as the history holds what they need. Reweighted values are
    sum(w O) / sum(w) over all proposals, w = exp(-S)/q, in the same bins as the chain: both live on the same
    replicas, so that their difference carries its own error.

    - `bins`: bins in all chains together (None: about 1000).
    - `fit_start`: first t of the plateau and of the cosh fit (None: max(1, L // 4)).
    - `ensemble`: name of the pyerrors ensemble (None: derived from the data, so that different runs never share it).

    tau_int = 1/2 + sum of rho(t) is in configurations: N error^2 / (2 variance of one configuration), at least 1/2.
    What cannot be trusted has no value but a reason in `untrusted`, see `Estimates`.

    Raises `InputError` if there are too few steps or bins, or `fit_start` lies outside 1 ... L // 2.
    """
    extents = history.attrs.get("lattice")
    lattice = None if extents is None else Lattice(int(extent) for extent in extents)
    start = _fit_start(lattice, fit_start)
    binned = bin_history(history, bins, in_block=_DIFFERENTIATED)
    ensemble = ensemble or "ensemble-" + hashlib.sha256(binned.chain.tobytes()).hexdigest()[:12]

    chain = _Analysis(binned, binned.chain, ensemble, _chain_distrust(binned), lattice, start)
    info = {
        "ensemble": ensemble,
        "lattice": None if lattice is None else list(lattice.shape),
        "chains": history.chains,
        "configurations": binned.configurations,
        "bins": binned.chain.shape[0] * binned.chain.shape[1],
        "bin_length": binned.length,
        "fits": chain.fits,
    }
    if binned.weight is None or binned.weighted is None:
        return Results(chain.estimates, None, info)
    info |= {
        "moves": binned.moves,
        "longest_rejection": binned.longest_rejection,
        "effective_samples": binned.effective_samples,
    }
    distrust = _reweighting_distrust(binned)
    samples = binned.chain if distrust else _reweighted_samples(binned.weight, binned.weighted)
    reweighted = _Analysis(binned, samples, ensemble, distrust, lattice, start, independent=True)
    return Results(chain.estimates, reweighted.estimates, info)


class _Analysis:
    """All observables of one set of bin values of the primaries, shape (chains, bins, columns).

    `distrust`: a reason to trust none of them. `independent`: the bins are not those of a chain, and tau_int has no
    meaning.
    """

    def __init__(
        self,
        binned: Bins,
        samples: np.ndarray,
        ensemble: str,
        distrust: str | None,
        lattice: Lattice | None,
        fit_start: int,
        *,
        independent: bool = False,
    ):
        self._binned, self._samples, self._distrust = binned, samples, distrust
        self._fit_start, self._independent = fit_start, independent
        self._replicas = [f"{ensemble}|r{chain:04d}" for chain in range(len(samples))]
        self.estimates = Estimates({}, {}, {})
        self.fits: dict[str, dict[str, Any]] = {}
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            self._add_means()
            if lattice is not None:
                self._add_derived(lattice)
                self._add_fits(lattice)

    def _add_means(self) -> None:
        columns = self._binned.columns
        for name, where in columns.slices.items():
            if name not in _HIDDEN:
                self._add(name, columns.shapes[name], self._samples[..., where], self._binned.variance[where])

    def _add_derived(self, lattice: Lattice) -> None:
        columns = self._binned.columns
        point = self._samples[..., : columns.block].mean(axis=(0, 1))
        for estimator in ESTIMATORS:
            if all(name in columns.slices for name in estimator.needs):

                def function(block: np.ndarray, evaluate: Any = estimator.function) -> np.ndarray:
                    return np.asarray(evaluate(columns.split(block), lattice))

                value, jacobian = function(point), gradient(function, point)
                self._add_linearised(estimator.name, value, jacobian, estimator.failure, estimator.first)

    def _add_fits(self, lattice: Lattice) -> None:
        columns = self._binned.columns
        if "correlator" not in columns.slices:
            return
        where = columns.slices["correlator"]
        correlator = self._samples[..., where].mean(axis=(0, 1))
        errors = self.estimates.error("correlator")
        for name, fit in _FITS.items():
            try:
                if not np.all(np.isfinite(errors)) or not np.all(errors > 0):
                    raise FitError("the correlator it is fitted to has no trusted error")
                correlation = np.corrcoef(self._samples[..., where].reshape(-1, len(errors)).T)
                result = fit(correlator, correlation * np.outer(errors, errors), lattice, self._fit_start)
            except FitError as error:
                self.estimates.untrusted[name] = self._distrust or str(error)
                continue
            jacobian = np.zeros(columns.block)
            jacobian[where] = result.gradient
            self._add_linearised(name, np.asarray(result.correlation_length), jacobian)
            self.fits[name] = {key: value for key, value in result._asdict().items() if key != "gradient"}

    def _add_linearised(
        self, name: str, value: np.ndarray, jacobian: np.ndarray, failure: str = _NOT_A_NUMBER, first: int = 0
    ) -> None:
        block = self._samples[..., : self._binned.columns.block]
        flat = jacobian.reshape(-1, block.shape[-1])
        series = value.ravel() + (block - block.mean(axis=(0, 1))) @ flat.T
        variance = np.einsum("ki,ij,kj->k", flat, self._binned.covariance, flat)
        self._add(name, value.shape, series, variance, failure, first)

    def _add(
        self,
        name: str,
        shape: tuple[int, ...],
        series: np.ndarray,
        variance: np.ndarray,
        failure: str = _NOT_A_NUMBER,
        first: int = 0,
    ) -> None:
        """The observable with the bin values `series` (chains, bins, entries), entry by entry."""
        if self._distrust:
            self.estimates.untrusted[name] = self._distrust
            return
        entries = series.shape[-1]
        observables, tau_int, reasons = np.full(entries, None), np.full(entries, np.nan), {}
        for k in range(first, entries):
            observable = gamma_method(series[..., k], self._replicas) if np.all(np.isfinite(series[..., k])) else None
            if observable is None:
                reasons[k] = failure
                continue
            if not self._independent:
                tau_int[k] = self._tau_int(observable, float(variance[k]))
                if self._binned.configurations < 2 * tau_int[k] * _LEAST_INDEPENDENT:
                    reasons[k] = (
                        f"its autocorrelation time of {tau_int[k]:.0f} leaves fewer than {_LEAST_INDEPENDENT} "
                        f"independent ones of {self._binned.configurations} configurations"
                    )
                    continue
            observables[k] = observable
        if all(entry is None for entry in observables):
            self.estimates.untrusted[name] = next(iter(reasons.values()), failure)
            return
        index = [f"{name}[{','.join(map(str, np.unravel_index(k, shape)))}]" for k in reasons]
        self.estimates.untrusted.update(zip(index, reasons.values(), strict=True))
        scalar = not shape
        self.estimates.observables[name] = observables[0] if scalar else observables.reshape(shape)
        if not self._independent:
            self.estimates.tau_int[name] = float(tau_int[0]) if scalar else tau_int.reshape(shape)

    def _tau_int(self, observable: Any, variance: float) -> float:
        if variance <= 0 or observable.dvalue == 0:
            return 0.5
        return max(0.5, self._binned.configurations * observable.dvalue**2 / (2 * variance))


def _fit_start(lattice: Lattice | None, wanted: int | None) -> int:
    if lattice is None:
        return 0
    last = max(lattice.shape) // 2
    start = default_start(lattice) if wanted is None else wanted
    if not 1 <= start <= last:
        raise InputError(f"fit_start: must lie between 1 and L // 2 = {last}, got {start}")
    return start


def _reweighted_samples(weight: np.ndarray, weighted: np.ndarray) -> np.ndarray:
    """Bin values whose mean is sum(w O) / sum(w) and whose fluctuations are that ratio's, to first order."""
    ratio = weighted.sum(axis=(0, 1)) / weight.sum()
    return ratio + (weighted - ratio * weight[..., None]) / weight.mean()


def _chain_distrust(binned: Bins) -> str | None:
    if binned.unstarted:
        return f"{binned.unstarted} chains had accepted no proposal by the end of their warm-up"
    if binned.invalid_weights > _INVALID_SHARE * binned.configurations:
        # Rejecting them samples exp(-S) restricted to where the weight is a number.
        return f"{binned.invalid_weights} of the log-weights are NaN or +inf"
    if binned.moves < _LEAST_INDEPENDENT:
        return f"the chains moved only {binned.moves} times in {binned.configurations} steps"
    if binned.longest_rejection * _LEAST_INDEPENDENT > binned.configurations:
        return f"a chain stood still for {binned.longest_rejection} of all {binned.configurations} steps"
    return None


def _reweighting_distrust(binned: Bins) -> str | None:
    if binned.invalid_weights:
        return f"{binned.invalid_weights} of the log-weights are NaN or +inf"
    if binned.effective_samples < _LEAST_EFFECTIVE_SAMPLES:
        return f"the weights of all proposals amount to only {binned.effective_samples:.0f} effective samples"
    return None
