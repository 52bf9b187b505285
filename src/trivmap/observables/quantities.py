"""Observables with errors from the bin values of the primaries: means, derived observables, fits."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trivmap.lattice import Lattice
from trivmap.observables import trust
from trivmap.observables.binning import OF_STEPS, Bins, joined
from trivmap.observables.catalog import CATALOG
from trivmap.observables.correlator_fits import LEAST_CORRELATION, Fit, FitError, covariance_to_fit
from trivmap.observables.derived import curvature_bias, linearized
from trivmap.observables.estimates import Estimates, gamma_method
from trivmap.observables.integration_shift import LARGEST_REMAINDER, REDUCTION, Shift
from trivmap.observables.observable import NOT_A_NUMBER, FitToCorrelator, FunctionOfMeans

_LARGEST_BIAS = 1 / 3
"""Largest bias from the curvature of a derived observable, in units of its error.

The bias is not subtracted: value and error fluctuate together, which also shifts the mean of (value - exact) / error.
For a function of one mean this shift is minus the bias in units of the error, and subtracting would double it.
"""
_NO_BIAS = 1e-6
"""Bias, in units of the error, below which a function of means counts as linear."""
_ROUNDING = 64 * np.finfo(np.float64).eps


class Quantities:
    """All observables of one set of bin values of the primaries, shape (chains, bins, columns).

    `reason_against`: a reason to distrust all of them. `curved`: a reason to distrust every nonlinear function of
    means. `independent`: the bins are not those of a chain, and tau_int has no meaning. `correct`: the corrections are
    added to the values; otherwise they only give the size of an error.
    """

    def __init__(
        self,
        binned: Bins,
        samples: np.ndarray,
        ensemble: str,
        reason_against: str | None,
        curved: str | None,
        lattice: Lattice | None,
        fit_start: int,
        corrections: Sequence[Shift] = (),
        *,
        independent: bool = False,
        correct: bool = True,
    ):
        self._binned, self._samples, self._reason_against, self._curved = binned, samples, reason_against, curved
        self._catalog = binned.columns.catalog
        self._fit_start, self._independent, self._correct = fit_start, independent, correct
        self._corrections, self._ensemble = corrections, ensemble
        self.shifts: dict[str, dict[str, float]] = {}
        self._replicas = [f"{ensemble}|r{chain:04d}" for chain in range(len(samples))]
        self.estimates = Estimates({}, {}, {})
        self.fits: dict[str, dict[str, Any]] = {}
        block = binned.columns.block
        wrong = ~np.isfinite(samples[..., :block]).all(axis=(0, 1)) | ~np.isfinite(np.diag(binned.covariance))
        for each in corrections:
            wrong |= ~np.isfinite(each.bins[:, :block]).all(axis=0)
        self._wrong = wrong
        """Columns of the block with a NaN somewhere: only observables that need them have no value."""
        self._block = np.where(wrong, 0.0, samples[..., :block])
        self._covariance = np.where(wrong[:, None] | wrong, 0.0, binned.covariance)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            self._typical_tau = None if independent or reason_against else self._median_tau()
            self._add_means()
            if lattice is not None:
                self._add_derived(lattice)
                self._add_fits(lattice)
                self._require_correlation()
            for name in self._catalog.own():
                if name not in self.estimates.observables:
                    self.estimates.untrusted.setdefault(name, self._reason_against or "its measurements are missing")

    def _median_tau(self) -> float | None:
        """The median autocorrelation time of the scalars, None if there are none.

        Scalars that a symmetry makes zero are left out: they may be far slower than everything else. The user's own
        observables are left out too, since they must not change the results of the others.
        """
        columns, times = self._binned.columns, []
        for name, where in columns.slices.items():
            series = self._samples[..., where.start]
            own = name in self._catalog and name not in CATALOG
            if columns.shapes[name] or own or self._is(name, "zero_under") or not np.all(np.isfinite(series)):
                continue
            observable = gamma_method(series, self._replicas, self._binned.length)
            if observable.dvalue > _ROUNDING * abs(observable.value):
                times.append(self._tau_int(observable, float(self._binned.variance[where.start])))
        return float(np.median(times)) if times else None

    def _add_means(self) -> None:
        columns = self._binned.columns
        for name, where in columns.slices.items():
            if not self._is(name, "hidden"):
                moved = [each.bins[:, where] for each in self._corrections]
                series, variance = self._samples[..., where], self._binned.variance[where]
                length = self._binned.length
                if name in OF_STEPS:
                    series, length = joined(series, length)
                self._add(name, columns.shapes[name], series, variance, moved, length=length)

    def _add_derived(self, lattice: Lattice) -> None:
        columns = self._binned.columns
        for each in self._catalog.values():
            if not isinstance(each, FunctionOfMeans) or not all(name in columns.slices for name in each.needs):
                continue
            found = each.failure if self._is_wrong(each.needs) else linearized(each, columns, self._block, lattice)
            if isinstance(found, str):
                self.estimates.untrusted[each.name] = self._reason_against or found
            else:
                self._add_linearized(each.name, found.value, found.jacobian, each.failure, each.first, found.bias)

    def _is_wrong(self, needs: Sequence[str]) -> bool:
        """True if one of these means is NaN in some bin."""
        return any(bool(self._wrong[self._binned.columns.slices[name]].any()) for name in needs)

    def _add_fits(self, lattice: Lattice) -> None:
        columns = self._binned.columns
        if "correlator" not in columns.slices or self._is_wrong(["correlator"]):
            return
        where = columns.slices["correlator"]
        correlator = self._samples[..., where].mean(axis=(0, 1))
        fits = {each.name: each.fit for each in self._catalog.values() if isinstance(each, FitToCorrelator)}
        found: dict[str, tuple[Fit, np.ndarray]] = {}
        try:
            samples, errors = self._samples[..., where], self.estimates.error("correlator")
            covariance = covariance_to_fit(correlator, samples, errors, self._fit_start)
            for name, fit in fits.items():

                def length(block: np.ndarray, fit: Any = fit) -> np.ndarray:
                    return np.asarray(fit(block[where], covariance, lattice, self._fit_start).correlation_length)

                found[name] = fit(correlator, covariance, lattice, self._fit_start), curvature_bias(length, self._block)
        except FitError as error:
            # Both fits use the same correlator and window: if one fails, the number of the other is meaningless.
            self.estimates.untrusted.update(dict.fromkeys(fits, self._reason_against or str(error)))
            return
        for name, (result, bias) in found.items():
            jacobian = np.zeros(columns.block)
            jacobian[where] = result.gradient
            self._add_linearized(name, np.asarray(result.correlation_length), jacobian, bias=bias)
            self.fits[name] = {key: value for key, value in result._asdict().items() if key != "gradient"}

    def _require_correlation(self) -> None:
        """Withhold all correlation lengths if no correlation is seen."""
        correlator = self.estimates.observables.get("correlator")
        if correlator is None or len(correlator) < 2:
            return
        nearest = correlator[1]
        if nearest is None or not nearest.value > LEAST_CORRELATION * nearest.dvalue:
            reason = f"the correlator at distance 1 is not {LEAST_CORRELATION:g} of its errors above zero"
            for name in list(self.estimates.observables):
                if self._is(name, "of_decay"):
                    self.estimates.withhold(name, reason)

    def _is(self, name: str, what: str) -> bool:
        """The value of a flag of an observable; False if the observable is not in the catalog."""
        return bool(getattr(self._catalog.get(name), what, False))

    def _add_linearized(
        self,
        name: str,
        value: np.ndarray,
        jacobian: np.ndarray,
        failure: str = NOT_A_NUMBER,
        first: int = 0,
        bias: np.ndarray | None = None,
    ) -> None:
        block = self._block
        flat = jacobian.reshape(-1, block.shape[-1])
        series = value.ravel() + (block - block.mean(axis=(0, 1))) @ flat.T
        variance = np.einsum("ki,ij,kj->k", flat, self._covariance, flat)
        moved = [np.where(self._wrong, 0.0, each.bins[:, : flat.shape[1]]) @ flat.T for each in self._corrections]
        self._add(name, value.shape, series, variance, moved, failure, first, bias)

    def _add(
        self,
        name: str,
        shape: tuple[int, ...],
        series: np.ndarray,
        variance: np.ndarray,
        moved: Sequence[np.ndarray],
        failure: str = NOT_A_NUMBER,
        first: int = 0,
        bias: np.ndarray | None = None,
        length: int | None = None,
    ) -> None:
        """The observable with the bin values `series` (chains, bins, entries), entry by entry.

        `length`: configurations of a bin, if it differs from that of all others.

        `moved`: bin values (bins, entries) of the shift by finer integration, for each pair of numbers of steps.
        """
        if self._reason_against:
            self.estimates.untrusted[name] = self._reason_against
            return
        entries = series.shape[-1]
        observables, tau_int, reasons = np.full(entries, None), np.full(entries, np.nan), {}
        for k in range(first, entries):
            if not np.all(np.isfinite(series[..., k])):
                reasons[k] = failure
                continue
            observable = gamma_method(series[..., k], self._replicas, length or self._binned.length)
            reason = self._reason(observable, float(variance[k]), None if bias is None else float(bias.ravel()[k]))
            if not self._independent:
                tau_int[k] = self._tau_int(observable, float(variance[k]))
            if not reason and moved:
                observable, reason = self._corrected(observable, [each[:, k] for each in moved], name, shape)
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

    def _corrected(
        self, observable: Any, moved: Sequence[np.ndarray], name: str, shape: tuple[int, ...]
    ) -> tuple[Any, str | None]:
        """The observable with its shift by finer integration, and a reason to distrust the result, or None."""
        total: Any = 0.0
        for correction, bins in zip(self._corrections, moved, strict=True):
            replica = [f"{self._ensemble}-integration-{correction.steps}"]
            shift = gamma_method(bins[None], replica)
            if not self._correct:
                shift = _error(abs(shift.value) + shift.dvalue, replica, name)
            observable, total = observable + shift, total + shift
        observable.gamma_method()
        total.gamma_method()
        if not shape:
            self.shifts[name] = {"value": float(total.value), "error": float(total.dvalue)}
        left = abs(float(moved[-1].mean())) / REDUCTION
        least = min(each.effective_samples for each in self._corrections)
        if least < trust.LEAST_EFFECTIVE_SAMPLES:
            return observable, (
                f"the map's weights leave only {least:.0f} effective samples to measure its integration error; train "
                "the map further, or use one that needs no integration"
            )
        if not left <= LARGEST_REMAINDER * observable.dvalue:
            share = left / observable.dvalue
            return observable, f"the remaining integration error is about {share:.2g} of its error; use more steps"
        return observable, None

    def _reason(self, observable: Any, variance: float, bias: float | None) -> str | None:
        """The reason to distrust one finite number, or None."""
        total = self._binned.configurations
        if not observable.dvalue > _ROUNDING * abs(observable.value):
            return f"it has not changed in {total} configurations, so it has no error"
        # In this form a NaN bias counts.
        curved = bias is not None and not abs(bias) < _NO_BIAS * observable.dvalue
        if curved and self._curved:
            return self._curved
        least = trust.LEAST_OF_CURVED if curved else trust.LEAST_INDEPENDENT
        least_own = trust.LEAST_OF_ITS_OWN_CURVED if curved else trust.LEAST_OF_ITS_OWN
        if self._independent:
            # For means, `reason_against` has its own limit.
            if curved and self._binned.effective_samples < least:
                return f"{self._binned.effective_samples:.0f} effective samples are too few for it: fewer than {least}"
        else:
            own = self._tau_int(observable, variance)
            typical = (own, least, "its") if self._typical_tau is None else (self._typical_tau, least, "the median")
            for tau_int, fewest, whose in (typical, (own, least_own, "its")):
                if total < 2 * tau_int * fewest:
                    return (
                        f"{whose} autocorrelation time of {tau_int:.2g} leaves {total / (2 * tau_int):.0f} independent "
                        f"ones of {total} configurations, fewer than {fewest}"
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


def _error(size: float, replica: list[str], name: str) -> Any:
    """Zero with an error of this size, in an ensemble of its own, independent of that of other observables."""
    noise = np.random.default_rng(list(name.encode())).normal(size=(1, 50))
    noise -= noise.mean()
    return gamma_method(noise * (size / gamma_method(noise, replica).dvalue), replica)
