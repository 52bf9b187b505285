"""Reading a run directory for its report."""

import os
from collections.abc import Collection

import numpy as np

from trivmap.cards.own import own_code, untrusted
from trivmap.errors import InputError
from trivmap.estimate import Estimate
from trivmap.observables import Estimates, History, Results
from trivmap.observables.stages import fields_along_the_map, keys_of_batches
from trivmap.reports.agreements import agreements
from trivmap.reports.data import MeasuredCurves, RunData, training_log
from trivmap.reports.references import find_reference
from trivmap.reports.streams import chain_statistics, log_weight_histogram
from trivmap.runs.pipeline import load_flow
from trivmap.runs.plan import Plan
from trivmap.runs.stored import read_results, read_stages
from trivmap.store.directory import RunDirectory
from trivmap.store.samples import SampleReader
from trivmap.trust import is_trusting

_CONFIGURATIONS = 4


PARTS = ("training", "samples", "observables", "stages", "configurations")


def collect(run: RunDirectory, parts: Collection[str] = PARTS) -> RunData:
    """The `parts` that the run has. A part that is absent or damaged is left out, and `missing` has the reason.

    The configurations are also left out if the map or the action is the user's own code and is not trusted.
    """
    card = run.card()
    data = RunData(run.root, card=card.to_data(), summary=run.summary())
    try:
        data.environment = run.environment()
    except InputError as error:
        data.missing["environment"] = str(error)
    data.untrusted = dict(data.summary.get("untrusted") or {})
    data.reference = find_reference(data.card["action"], data.lattice)
    for part, path, what_to_do, add in (
        ("training", run.metrics_path, "this run has no training", _add_training),
        ("samples", run.samples_path, "nothing has been sampled yet", _add_samples),
        ("observables", run.observables_path, "nothing has been measured yet", _add_observables),
        ("stages", run.stages_path, "the stages of the map have not been measured", _add_stages),
        ("configurations", run.model_path, "there is no trained map to draw them from", _add_configurations),
    ):
        if part not in parts:
            continue
        if part != "training" and not os.path.lexists(path):
            data.missing[part] = what_to_do
            continue
        if part == "configurations" and own_code(card) and not is_trusting():
            data.missing[part] = f"the run {untrusted(own_code(card))}"
            continue
        try:
            add(data, run)
        except InputError as error:
            data.missing[part] = str(error)
    return data


def _add_training(data: RunData, run: RunDirectory) -> None:
    if lines := run.metrics():
        data.training = training_log(lines, data.summary)
    else:
        data.missing["training"] = "this run has no training"


def _add_samples(data: RunData, run: RunDirectory) -> None:
    with SampleReader(run.root) as reader:
        add_history(data, reader)


def add_history(data: RunData, history: History) -> None:
    """Stream the history into histograms and autocorrelations."""
    if history.n - history.warmup < 2:
        data.missing["samples"] = "no step after the warm-up has been sampled yet"
        return
    data.chain = chain_statistics(history)
    if history.attrs.get("history") == "proposals":
        try:
            data.log_weights = log_weight_histogram(history)
        except ValueError as error:
            data.missing["log-weights"] = str(error)


def _add_observables(data: RunData, run: RunDirectory) -> None:
    add_results(data, read_results(run))


def add_results(data: RunData, results: Results) -> None:
    """Add curves, reweighted values and differences; names without a trusted value keep their reason."""
    chain, reweighted = results.chain, results.reweighted
    # If a reweighted average replaces that of the chain, the reason is printed once, elsewhere.
    printed = data.summary.get("observables") or {}
    data.untrusted = {k: v for k, v in results.untrusted.items() if k not in printed} | data.untrusted
    if reweighted is not None:
        data.untrusted |= {
            f"{name} (reweighted)": reason
            for name, reason in reweighted.untrusted.items()
            if name not in chain.untrusted
        }

    def curve(source: Estimates | None, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        return (source.value(name), source.error(name)) if source is not None and name in source else None

    masses = curve(chain, "effective_mass")
    data.curves = MeasuredCurves(
        correlator=curve(chain, "correlator"),
        correlator_reweighted=curve(reweighted, "correlator"),
        correlator_fit=_fit(results, "correlation_length_cosh_fit"),
        effective_mass=None if masses is None else (np.arange(len(masses[0])), *masses),
        plateau=_plateau(results, max(data.lattice) // 2),
        two_point=curve(chain, "two_point"),
    )
    data.agreement = agreements(results, data.reference, data.untrusted)
    for target, source in ((data.reweighted, reweighted), (data.differences, results.difference)):
        if source is None:
            continue
        for name in source:
            value, error = source.value(name), source.error(name)
            if value.ndim == 0 and np.isfinite(value) and np.isfinite(error):
                target[name] = Estimate(float(value), float(error))


def _fit(results: Results, name: str) -> dict[str, float] | None:
    fit = (results.info.get("fits") or {}).get(name)
    if fit is None or name not in results.chain:
        return None
    return {**fit, "correlation_length_error": float(results.chain.error(name))}


def _plateau(results: Results, last: int) -> dict[str, float] | None:
    fit = _fit(results, "correlation_length_arccosh")
    if fit is None:
        return None
    mass = 1 / fit["correlation_length"]
    return {"value": mass, "error": fit["correlation_length_error"] * mass**2, "first": fit["start"], "last": last}


def _add_stages(data: RunData, run: RunDirectory) -> None:
    data.stages = read_stages(run).stages


def _add_configurations(data: RunData, run: RunDirectory) -> None:
    plan = Plan(run.card())
    # The first batch on which the stages are measured: after that measurement, the program is already compiled.
    noise = keys_of_batches(plan.keys["stages"], plan.card.measure.stages.proposals)[0]
    fields = fields_along_the_map(load_flow(run, plan), plan.target, noise)
    data.configurations = np.asarray(fields[0][:_CONFIGURATIONS]), np.asarray(fields[-1][:_CONFIGURATIONS])
