"""The error analysis: from a history to observables with errors by the Gamma method (hep-lat/0306017, pyerrors).

A history is binned in one streaming pass. Every observable f is linearised at the means, f + grad f . (bin - mean),
which is what error propagation in the Gamma method does, and handed to pyerrors as one replica per chain. Deviations
are those from the mean of all chains, so that the scatter between chains is part of the error.
"""

import hashlib
from collections.abc import Collection
from typing import Any

import numpy as np

from trivmap.diagnostics.tails import enlargement
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.observables import trust
from trivmap.observables.binning import Bins, bin_history
from trivmap.observables.correlator_fits import FitError, cosh_fit, default_start, plateau
from trivmap.observables.estimators import ESTIMATORS, LENGTHS, gradient
from trivmap.observables.history import History
from trivmap.observables.results import Estimates, Results, gamma_method

_FITS = {"correlation_length_arccosh": plateau, "correlation_length_cosh_fit": cosh_fit}
_HIDDEN = ("magnetization_squared", "magnetization_fourth")
_DIFFERENTIATED = ("correlator", *{name for estimator in ESTIMATORS for name in estimator.needs})
_NOT_A_NUMBER = "it is not a number"
_LEAST_CORRELATION = 4.0
"""Errors by which the correlator at distance 1 must differ from zero where a correlation length is to be quoted."""
_LARGEST_BIAS = 1 / 3
"""Largest bias by the curvature of a derived observable, in units of its error."""
_MOST_JACKKNIFE = 200
"""Most groups of bins that are left out in turn."""
_ROUNDING = 64 * np.finfo(np.float64).eps


def analyse(
    history: History,
    *,
    bins: int | None = None,
    fit_start: int | None = None,
    ensemble: str | None = None,
    symmetries: Collection[str] | None = None,
) -> Results:
    """Means, derived observables and their errors from the chains and, where there are weights, by reweighting.

    Every measurement of the history gets its mean under its own name; |m|, what `estimators.ESTIMATORS` lists and the
    two correlator fits come with them, as far as the history holds what they need. Reweighted values are
    sum(w O) / sum(w) over all proposals, w = exp(-S)/q, in the same bins as the chain: both live on the same
    replicas, so that their difference carries its own error.

    tau_int = 1/2 + sum of rho(t) is in configurations: N error^2 / (2 variance of one configuration), at least 1/2.
    What cannot be trusted has no value but a reason in `untrusted`, see `Estimates`; the rules are those of
    `observables.trust`.

    Args:
        history: what is analysed.
        bins: bins in all chains together (None: about 1000).
        fit_start: first t of the plateau and of the cosh fit (None: max(1, L // 4)).
        ensemble: name of the pyerrors ensemble (None: derived from the data, so that different runs never share it).
        symmetries: those of the action, see `AbstractAction.symmetries`; what they make zero is checked (None: those
            in `history.attrs`, if any).

    Raises:
        InputError: if there are too few steps or bins, or `fit_start` lies outside 1 ... L // 2.
    """
    extents = history.attrs.get("lattice")
    lattice = None if extents is None else Lattice(int(extent) for extent in extents)
    start = _fit_start(lattice, fit_start)
    symmetries = frozenset(history.attrs.get("symmetries", ()) if symmetries is None else symmetries)
    binned = bin_history(history, bins, in_block=_DIFFERENTIATED)
    ensemble = ensemble or "ensemble-" + hashlib.sha256(binned.chain.tobytes()).hexdigest()[:12]
    weights = None if binned.weight is None else trust.judge_weights(history)
    r_hat, disagreement = trust.agreement_reason(binned)

    distrust = trust.chains_reason(binned, weights) or disagreement
    chain = _Analysis(binned, binned.chain, ensemble, distrust, lattice, start)
    chain.estimates = _checked(chain.estimates)
    info = {
        "ensemble": ensemble,
        "lattice": None if lattice is None else list(lattice.shape),
        "chains": history.chains,
        "configurations": binned.configurations,
        "bins": binned.chain.shape[0] * binned.chain.shape[1],
        "bin_length": binned.length,
        "moves": binned.moves,
        "longest_stand": binned.longest_stand,
        "r_hat": r_hat,
        "missing_sector": None,
        "fits": chain.fits,
    }
    if weights is None or binned.weight is None or binned.weighted is None:
        _withhold_odd(info, chain.estimates, trust.tunneling_reason(binned, symmetries), symmetries)
        _withhold_odd(info, chain.estimates, trust.sector_reason(chain.estimates, symmetries), symmetries)
        return Results(chain.estimates, None, info)
    info |= {
        "effective_samples": binned.effective_samples,
        "pareto_shape": weights.shape,
        "skewness": weights.skewness,
    }
    distrust = trust.reweighting_reason(binned, weights)
    samples = binned.chain
    if not distrust:
        samples = _reweighted_samples(binned.weight, binned.weighted, enlargement(weights.own_skewness))
    reweighted = _Analysis(binned, samples, ensemble, distrust, lattice, start, independent=True)
    results = Results(chain.estimates, _checked(reweighted.estimates), info)
    reason = trust.difference_reason(results.difference)
    results = Results(results.chain.withheld(reason) if reason else results.chain, results.reweighted, info)
    for estimates in (results.chain, results.reweighted):
        if estimates is not None:
            _withhold_odd(info, estimates, trust.sector_reason(estimates, symmetries), symmetries)
    return results


def _checked(estimates: Estimates) -> Estimates:
    reason = trust.identity_reason(estimates)
    return estimates.withheld(reason) if reason else estimates


def _withhold_odd(info: dict[str, Any], estimates: Estimates, reason: str | None, symmetries: Collection[str]) -> None:
    """Take the odd observables out of the estimates, if there is a reason, and note it."""
    if reason is None:
        return
    info["missing_sector"] = reason
    for symmetry in symmetries:
        for name in trust.ODD.get(symmetry, ()):
            estimates.withhold(name, reason)


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
                self._require_correlation()

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
                bias = self._bias(function)
                self._add_linearised(estimator.name, value, jacobian, estimator.failure, estimator.first, bias)

    def _add_fits(self, lattice: Lattice) -> None:
        columns = self._binned.columns
        if "correlator" not in columns.slices:
            return
        where = columns.slices["correlator"]
        correlator = self._samples[..., where].mean(axis=(0, 1))
        errors = self.estimates.error("correlator")
        results = {}
        for name, fit in _FITS.items():
            try:
                if not np.all(np.isfinite(errors)) or not np.all(errors > 0):
                    raise FitError("the correlator it is fitted to has no trusted error")
                correlation = np.corrcoef(self._samples[..., where].reshape(-1, len(errors)).T)
                results[name] = fit(correlator, correlation * np.outer(errors, errors), lattice, self._fit_start)
            except FitError as error:
                # Both look at one correlator in one window: where one fails, the other one's number means nothing.
                for other in _FITS:
                    self.estimates.untrusted[other] = self._distrust or str(error)
                return
        for name, result in results.items():
            jacobian = np.zeros(columns.block)
            jacobian[where] = result.gradient
            self._add_linearised(name, np.asarray(result.correlation_length), jacobian)
            self.fits[name] = {key: value for key, value in result._asdict().items() if key != "gradient"}

    def _require_correlation(self) -> None:
        """Withhold all correlation lengths where no correlation is seen."""
        correlator = self.estimates.observables.get("correlator")
        if correlator is None or len(correlator) < 2:
            return
        nearest = correlator[1]
        if nearest is None or not nearest.value > _LEAST_CORRELATION * nearest.dvalue:
            reason = f"the correlator at distance 1 is not {_LEAST_CORRELATION:g} of its errors above zero"
            for name in LENGTHS:
                if name in self.estimates.observables:
                    self.estimates.withhold(name, reason)

    def _bias(self, function: Any) -> np.ndarray:
        """Bias of f(means) by the curvature of f: the jackknife's, (n - 1) (mean of f without one bin - f)."""
        block = self._samples[..., : self._binned.columns.block].reshape(-1, self._binned.columns.block)
        count = min(len(block), _MOST_JACKKNIFE)
        usable = len(block) // count * count
        groups = block[:usable].reshape(count, -1, block.shape[1]).mean(axis=1)
        without = (groups.sum(axis=0) - groups) / (count - 1)
        values = np.mean([function(point) for point in without], axis=0)
        return np.asarray((count - 1) * (values - function(groups.mean(axis=0))))

    def _add_linearised(
        self,
        name: str,
        value: np.ndarray,
        jacobian: np.ndarray,
        failure: str = _NOT_A_NUMBER,
        first: int = 0,
        bias: np.ndarray | None = None,
    ) -> None:
        block = self._samples[..., : self._binned.columns.block]
        flat = jacobian.reshape(-1, block.shape[-1])
        series = value.ravel() + (block - block.mean(axis=(0, 1))) @ flat.T
        variance = np.einsum("ki,ij,kj->k", flat, self._binned.covariance, flat)
        self._add(name, value.shape, series, variance, failure, first, bias)

    def _add(
        self,
        name: str,
        shape: tuple[int, ...],
        series: np.ndarray,
        variance: np.ndarray,
        failure: str = _NOT_A_NUMBER,
        first: int = 0,
        bias: np.ndarray | None = None,
    ) -> None:
        """The observable with the bin values `series` (chains, bins, entries), entry by entry."""
        if self._distrust:
            self.estimates.untrusted[name] = self._distrust
            return
        entries = series.shape[-1]
        observables, tau_int, reasons = np.full(entries, None), np.full(entries, np.nan), {}
        for k in range(first, entries):
            if not np.all(np.isfinite(series[..., k])):
                reasons[k] = failure
                continue
            observable = gamma_method(series[..., k], self._replicas, self._binned.length)
            reason = self._reason(observable, float(variance[k]), None if bias is None else float(bias.ravel()[k]))
            if not self._independent:
                tau_int[k] = self._tau_int(observable, float(variance[k]))
            if reason:
                reasons[k] = reason
            else:
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

    def _reason(self, observable: Any, variance: float, bias: float | None) -> str | None:
        """Why one number cannot be trusted that looks like one."""
        total = self._binned.configurations
        if not observable.dvalue > _ROUNDING * abs(observable.value):
            return f"it has not changed in {total} configurations, so that it has no error"
        if not self._independent:
            tau_int = self._tau_int(observable, variance)
            if total < 2 * tau_int * trust.LEAST_INDEPENDENT:
                return (
                    f"its autocorrelation time of {tau_int:.0f} leaves fewer than {trust.LEAST_INDEPENDENT} "
                    f"independent ones of {total} configurations"
                )
        if bias is not None and not abs(bias) < _LARGEST_BIAS * observable.dvalue:
            return f"too few configurations: the curvature of its formula moves it by {bias:.2g}, its error is " + (
                f"{observable.dvalue:.2g}"
            )
        return None

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


def _reweighted_samples(weight: np.ndarray, weighted: np.ndarray, factor: float) -> np.ndarray:
    """Bin values whose mean is sum(w O) / sum(w) and whose fluctuations are `factor` times that ratio's, linearised."""
    ratio = weighted.sum(axis=(0, 1)) / weight.sum()
    return ratio + factor * (weighted - ratio * weight[..., None]) / weight.mean()
