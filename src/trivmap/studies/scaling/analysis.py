"""The results of a study: the cost of every run to every target, its quality, and the exponents of the costs."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.estimate import Estimate
from trivmap.observables.catalog import CATALOG, own_names
from trivmap.store.directory import finite
from trivmap.studies.scaling.card import StudyCard, StudyRun
from trivmap.studies.scaling.directory import StudyDirectory
from trivmap.studies.scaling.fits import Cost, cost_exponent

COSTS = ("configurations", "operations", "seconds")
"""Configurations generated in training, arithmetic operations of the steps, wall seconds with compilation."""
OBSERVED = tuple(name for name in CATALOG.headlines if CATALOG[name].zero_under is None)
"""The observables of a study's runs, beside the user's own in the cards."""

Reference = Callable[[RunCard], Mapping[str, Estimate]]
"""Known values of a card's observables, by name."""


def study_result(
    directory: StudyDirectory, failures: Mapping[str, str], reference: Reference = lambda card: {}
) -> dict[str, Any]:
    """The content of `study.json`: runs, curves and fits; runs that are not complete only have their state.

    The cost of a run that starts from another run includes all costs of that run.
    """
    card = directory.card()
    runs: dict[str, dict[str, Any]] = {}
    for name, run in card.runs.items():
        before = runs[run.after] if run.after else None
        runs[name] = _run(directory, card, run, before, failures.get(name), reference)
    return finite(
        {
            "schema": 1,
            "name": card.name,
            "description": card.description,
            "action": card.action,
            "dimension": card.dimension,
            "couplings": card.couplings,
            "targets": card.targets,
            "threads": card.threads,
            "runs": list(runs.values()),
            "fits": _fits(card, list(runs.values())),
        }
    )


def _run(
    directory: StudyDirectory,
    card: StudyCard,
    run: StudyRun,
    before: dict[str, Any] | None,
    failure: str | None,
    reference: Reference,
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": run.name,
        "series": run.series,
        "settings": run.settings,
        "label": label(run.series, run.settings),
        "extent": run.extent,
        "seed": run.seed,
        "after": run.after,
        "state": "incomplete",
        "reason": failure,
    }
    done = directory.done(run.name)
    if run.after is not None and (before is None or before["state"] != "complete"):
        return entry | {"state": "failed" if failure else "incomplete", "reason": f"{run.after} is not complete"}
    if done is None:
        noted = directory.failed(run.name)
        if failure or noted:
            entry |= {"state": "failed", "reason": failure or (noted or {})["reason"]}
        return entry
    made = directory.run(run.name)
    summary, metrics = made.summary(), made.metrics()
    if not (summary.get("training") and summary.get("sampling")):
        raise InputError(f"{made.root}: {directory.gone(run.name)}")
    start = before["spent"] if before else dict.fromkeys(COSTS, 0.0)
    training, sampling = summary["training"], summary["sampling"]

    def spent(steps: int, configurations: int, seconds: float) -> dict[str, float]:
        own = {"configurations": configurations, "operations": _operations(done, steps), "seconds": seconds}
        return {key: start[key] + own[key] for key in COSTS}

    curve = [
        {
            **spent(record["step"], record["configurations"], record["seconds"]),
            "acceptance": record["evaluation"]["acceptance"]["value"],
            "error": record["evaluation"]["acceptance"]["error"],
            "ess": record["evaluation"]["ess"]["value"],
        }
        for record in metrics
        if "evaluation" in record and _on_final_rung(record, training)
    ]
    least = spent(1, done["operations"][0]["batch"], min(training["compile_seconds"], training["wall_seconds"]))
    return entry | {
        "state": "complete",
        "status": training["status"],
        "parameters": summary["model"]["parameters"],
        "spent": spent(training["steps"], training["configurations"], training["wall_seconds"]),
        "compile_seconds": training["compile_seconds"],
        "reached": {f"{target:g}": _reached(curve, target, least) for target in card.targets},
        "curve": curve,
        "acceptance": sampling.get("acceptance"),
        "ess": {"value": sampling.get("ess"), "error": sampling.get("ess_error")},
        "tau_int": sampling.get("tau_int"),
        "log_z": summary["log_z"],
        "observables": {
            name: summary["observables"].get(name) for name in (*OBSERVED, *own_names(summary["observables"]))
        },
        "untrusted": summary.get("untrusted") or {},
        "pulls": _pulls(reference(run.card), summary["observables"]),
        **{key: done[key] for key in ("processors", "exclusive", "sessions", "host", "load")},
    }


def label(series: str, settings: Mapping[str, str]) -> str:
    """The name of a series at one point of its grid."""
    return ", ".join([series, *(f"{axis.rsplit('.', 1)[-1]} {value}" for axis, value in settings.items())])


def _operations(done: Mapping[str, Any], steps: int) -> float:
    """The operations of the first `steps` steps, including those of the ladder."""
    total, left = 0.0, steps
    for stretch in done["operations"]:
        taken = min(left, stretch["steps"])
        total, left = total + taken * stretch["operations"], left - taken
    return total


def _on_final_rung(record: Mapping[str, Any], training: Mapping[str, Any]) -> bool:
    below = training["rungs"][-1]["steps"] if training["rungs"] else 0
    return record["step"] > below


def _reached(curve: Sequence[Mapping[str, Any]], target: float, least: Mapping[str, float]) -> dict[str, Any] | None:
    """The cost of the first evaluation whose acceptance minus one error exceeds the target.

    `above` is the cost of the evaluation before it, or `least`, the cost of a single step.
    """
    above = least
    for point in curve:
        if point["acceptance"] is not None and point["acceptance"] - (point["error"] or 0.0) > target:
            return {key: point[key] for key in COSTS} | {"above": {key: min(above[key], point[key]) for key in COSTS}}
        above = point
    return None


def _pulls(known: Mapping[str, Estimate], observables: Mapping[str, Any]) -> dict[str, float]:
    """(value - reference) / combined error, for observables that have a reference."""
    pulls = {}
    for name in OBSERVED:
        found, reference = observables.get(name), known.get(name)
        if found and reference and found["error"]:
            pulls[name] = (found["value"] - reference.value) / math.hypot(found["error"], reference.error)
    return pulls


def _fits(card: StudyCard, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The exponent of every cost to every target, for every series and point of its grid.

    A run that failed never reached a target; a lattice with a run that is not done yet is left out.
    """
    fits = []
    labels = list(dict.fromkeys(run["label"] for run in runs))
    for name in labels:
        own = [run for run in runs if run["label"] == name]
        open_ = {run["extent"] for run in own if run["state"] == "incomplete"}
        own = [run for run in own if run["extent"] not in open_]
        for target in (f"{target:g}" for target in card.targets):
            for cost in COSTS:
                table: dict[int, list[Cost]] = {}
                for run in own:
                    table.setdefault(run["extent"], []).append(_cost(run, target, cost))
                found = cost_exponent(table)
                censored = sorted(extent for extent, each in table.items() if any(math.isinf(c.value) for c in each))
                entry: dict[str, Any] = {"label": name, "target": target, "cost": cost, "censored": censored}
                entry["incomplete"] = sorted(open_)
                if found is not None:
                    entry |= found._asdict() | {"exponent": found.exponent._asdict()}
                fits.append(entry)
    return fits


def _cost(run: Mapping[str, Any], target: str, cost: str) -> Cost:
    """The cost of a run to a target; None for a run that failed."""
    if run["state"] != "complete":
        return Cost(0.0, math.inf)
    reached = run["reached"][target]
    return Cost(reached["above"][cost], reached[cost]) if reached else Cost(run["spent"][cost], math.inf)
