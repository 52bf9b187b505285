"""The error analysis: from a history to observables with errors by the Gamma method (hep-lat/0306017).

A history is binned in one streaming pass. Every observable f is linearized at the means, f + grad f . (bin - mean),
as in the error propagation of the Gamma method, and passed to pyerrors as one replica per chain. Deviations are taken
from the mean of all chains, so that the scatter between chains is part of the error.
"""

import hashlib
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from trivmap.diagnostics.tails import enlargement
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.observables import trust
from trivmap.observables.binning import bin_history
from trivmap.observables.catalog import CATALOG
from trivmap.observables.correlator_fits import default_start
from trivmap.observables.history import History
from trivmap.observables.integration_shift import Pair, shifts
from trivmap.observables.observable import Observable
from trivmap.observables.quantities import Quantities
from trivmap.observables.results import Results


def analyze(
    history: History,
    *,
    bins: int | None = None,
    fit_start: int | None = None,
    ensemble: str | None = None,
    symmetries: Collection[str] | None = None,
    integration: Sequence[Pair] = (),
    correct: bool = True,
    observables: Sequence[Observable] = (),
) -> Results:
    """Means, derived observables and their errors from the chains and, if there are weights, by reweighting.

    Every measurement of the history gets its mean under its own name; the other observables of `CATALOG` are added if
    the history has the measurements that they need. Reweighted values are sum(w O) / sum(w) over all proposals,
    w = exp(-S)/q, in the same bins as the chain: both use the same replicas, so their difference has its own error.

    tau_int = 1/2 + sum of rho(t) is in configurations: N error^2 / (2 variance of one configuration), at least 1/2.
    A number that cannot be trusted has no value; its reason is in `untrusted`, see `Estimates`. The rules are those
    of `observables.trust`.

    Args:
        history: the history to analyze.
        bins: bins in all chains together (None: about 1000).
        fit_start: first t of the plateau and of the cosh fit (None: max(1, L // 4)).
        ensemble: name of the pyerrors ensemble (None: derived from the data, so that different runs never share it).
        symmetries: those of the action, see `AbstractAction.symmetries`; observables that they make zero are checked
            (None: those in `history.attrs`, if any).
        integration: configurations of the flow at several numbers of integration steps; the shift of an observable by
            finer steps is added to it, with its error (none: those in `history.attrs`, if any).
        observables: your own observables beside those of `CATALOG` (none: those in `history.attrs`, if any).
        correct: False if the weights are not those of the flow alone (annealing): the shift then only adds an error.

    Raises:
        InputError: if there are too few steps or bins, `fit_start` lies outside 1 ... L // 2, or an own observable has
            the name of another one or needs a measurement that does not exist.
    """
    extents = history.attrs.get("lattice")
    lattice = None if extents is None else Lattice(int(extent) for extent in extents)
    start = _fit_start(lattice, fit_start)
    symmetries = frozenset(history.attrs.get("symmetries", ()) if symmetries is None else symmetries)
    catalog = CATALOG.with_own(observables or history.attrs.get("observables", ()))
    binned = bin_history(history, bins, in_block=catalog.differentiated, catalog=catalog)
    ensemble = ensemble or "ensemble-" + hashlib.sha256(binned.chain.tobytes()).hexdigest()[:12]
    weights = None if binned.weight is None else trust.judge_weights(history)
    odd = [name for symmetry in symmetries for name in catalog.odd_under(symmetry)]
    r_hat, disagreement = trust.agreement_reason(binned)
    corrections = shifts(integration or history.attrs.get("integration", ()), binned.columns)

    reason_against = trust.chains_reason(binned, weights) or disagreement
    shared = trust.curved_reason(weights), lattice, start, corrections
    chain = Quantities(binned, binned.chain, ensemble, reason_against, *shared, correct=correct)
    info: dict[str, Any] = {
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
        "broken_identity": None,
        "integration_shift": chain.shifts,
        "fits": chain.fits,
        "own": {name: {"symbol": each.symbol, "axes": list(each.axes)} for name, each in catalog.own().items()},
    }
    if weights is None or binned.weight is None or binned.weighted is None:
        results = Results(chain.estimates, None, info)
        if reason := trust.tunneling_reason(binned, symmetries):
            results = results.without(odd, reason)
    else:
        info |= {
            "effective_samples": binned.effective_samples,
            "pareto_shape": weights.shape,
            "skewness": weights.skewness,
        }
        reason_against = trust.reweighting_reason(binned, weights)
        samples = binned.chain
        if not reason_against:
            samples = _reweighted_samples(binned.weight, binned.weighted, enlargement(weights.own_skewness))
        reweighted = Quantities(binned, samples, ensemble, reason_against, *shared, independent=True, correct=correct)
        info["integration_shift"] = reweighted.shifts or chain.shifts
        results = Results(chain.estimates, reweighted.estimates, info)
    for estimates in (results.chain, results.reweighted):
        if estimates is not None:
            info["missing_sector"] = info["missing_sector"] or trust.sector_reason(estimates, symmetries, catalog)
            info["broken_identity"] = info["broken_identity"] or trust.identity_reason(estimates, catalog)
    if info["missing_sector"]:
        results = results.without(odd, info["missing_sector"])
    info["broken_identity"] = info["broken_identity"] or trust.difference_reason(results)
    return results.withheld(info["broken_identity"]) if info["broken_identity"] else results


def _fit_start(lattice: Lattice | None, wanted: int | None) -> int:
    if lattice is None:
        return 0
    last = max(lattice.shape) // 2
    start = default_start(lattice) if wanted is None else wanted
    if not 1 <= start <= last:
        raise InputError(f"fit_start: must lie between 1 and L // 2 = {last}, got {start}")
    return start


def _reweighted_samples(weight: np.ndarray, weighted: np.ndarray, factor: float) -> np.ndarray:
    """Bin values whose mean is sum(w O) / sum(w) and whose fluctuations are `factor` times that ratio's, linearized."""
    ratio = weighted.sum(axis=(0, 1)) / weight.sum()
    return ratio + factor * (weighted - ratio * weight[..., None]) / weight.mean()
