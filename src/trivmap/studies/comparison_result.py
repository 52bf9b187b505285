"""The results of a comparison: autocorrelation times, rates, costs, and the agreement of the samplers."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trivmap.cards.card import RunCard
from trivmap.cards.own import observables
from trivmap.diagnostics.autocorrelation import autocorrelation_time
from trivmap.estimate import Estimate
from trivmap.observables.catalog import CATALOG, Catalog
from trivmap.observables.history import chain_series
from trivmap.store.directory import RunDirectory
from trivmap.store.samples import SampleReader
from trivmap.studies.compare_card import CompareCard

COMPARED = tuple(name for name in CATALOG.headlines if CATALOG.has_series(name))
"""The observables that are compared, beside the user's own in the cards."""
CONSISTENCY = tuple(name for name in COMPARED if CATALOG[name].zero_under is None)
"""The samplers must agree on these, on log Z, and on the user's own observables that no symmetry makes zero."""
REFERENCE = "abs_magnetization"
"""Break-even points are counted in independent values of this observable."""
_CLEAR = 2.0
"""Errors by which two costs must differ before one counts as larger."""


class BreakEven(NamedTuple):
    """The point at which a sampler with a large initial cost overtakes another, if there is one.

    `verdict`: "at" (it is cheaper beyond `samples`), "never", "from the start" or "undecided" (the costs of a
    sample do not differ by two errors).
    """

    verdict: str
    samples: Estimate | None


def independent_per_second(tau_int: Estimate, seconds_per_step: Estimate) -> Estimate:
    """1 / (2 tau_int seconds_per_step): the rate of effectively independent samples, all chains together."""
    cost = cost_of_one(tau_int, seconds_per_step)
    return Estimate(1 / cost.value, cost.error / cost.value**2)


def cost_of_one(tau_int: Estimate, seconds_per_step: Estimate) -> Estimate:
    """Seconds per effectively independent sample, 2 tau_int seconds_per_step."""
    value = 2 * tau_int.value * seconds_per_step.value
    return Estimate(value, value * math.hypot(_relative(tau_int), _relative(seconds_per_step)))


def break_even(own_start: float, own_cost: Estimate, other_start: float, other_cost: Estimate) -> BreakEven:
    """The number n of independent samples with own_start + n own_cost = other_start + n other_cost.

    `start`: seconds before the first sample (training, warm-up); `cost`: seconds per sample. The error of n comes
    from those of the two costs, to first order.
    """
    gain = Estimate(other_cost.value - own_cost.value, math.hypot(own_cost.error, other_cost.error))
    advance = own_start - other_start
    if advance <= 0 and gain.value > 0:
        return BreakEven("from the start", None)
    if gain.value < -_CLEAR * gain.error or gain.value == gain.error == 0:
        return BreakEven("never", None)
    if gain.value <= _CLEAR * gain.error:
        return BreakEven("undecided", None)
    samples = advance / gain.value
    return BreakEven("at", Estimate(samples, samples * gain.error / gain.value))


def _relative(estimate: Estimate) -> float:
    return estimate.error / estimate.value


def comparison_result(root: Path, card: CompareCard, rates: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `comparison.json`, see docs/explanation/comparison.md."""
    own = {each.name: each for run_card in card.cards.values() for each in observables(run_card)}
    samplers = {
        name: _sampler(RunDirectory.open(root / name), run_card, card.samplers[name].map_of, rates["samplers"][name])
        for name, run_card in card.cards.items()
    }
    agreeing = [name for name, each in own.items() if each.zero_under is None]
    data = card.to_data()
    action = next(iter(card.cards.values())).to_data()["action"]
    return {
        "schema": 1,
        "name": card.name,
        "description": card.description,
        "action": {key: value for key, value in action.items() if value is not None},
        "lattice": list(card.lattice),
        "dtype": card.dtype,
        "seed": card.seed,
        "samplers": samplers,
        "break_even": _break_evens(samplers),
        "consistency": _pulls(samplers, (*CONSISTENCY, *agreeing, "log_z")),
        "timing": {key: rates[key] for key in ("processors", "load_before", "time")} | data["timing"],
        "environment": rates["environment"],
    }


def _sampler(run: RunDirectory, card: RunCard, map_of: str | None, rate: Mapping[str, Any]) -> dict[str, Any]:
    summary = run.summary()
    sampling, training = summary["sampling"], summary["training"]
    seconds = Estimate(**rate["seconds_per_step"])
    warmup = (card.sampling.warmup or 0) * card.sampling.chains
    with SampleReader(run.root) as reader:
        known = sampling["acceptance"]["value"] is not None
        own = observables(card)
        catalog = CATALOG.with_own(own)
        # Theories with other fields have fewer measurements: angles have no phi^2.
        names = [name for name in COMPARED if catalog.series_of(name, reader.names)[0] in reader.names]
        names += [each.name for each in own if not (each.axes or each.hidden)]
        found = {name: _observable(reader, catalog, name, summary, seconds, known) for name in names}
    weighted = sampling["ess"] is not None
    return {
        "kind": card.sampling.kind,
        "chains": card.sampling.chains,
        "steps": sampling["proposals"],
        "map_of": map_of,
        "acceptance": sampling["acceptance"],
        "ess": {"value": sampling["ess"], "error": sampling["ess_error"]} if weighted else None,
        "effective_samples_per_second": sampling["ess"] / seconds.value if weighted else None,
        "r_hat": sampling.get("r_hat"),
        "diagnostics": sampling.get("diagnostics"),
        "seconds_per_step": seconds._asdict(),
        "rounds": rate["rounds"],
        "first_seconds": rate["first_seconds"],
        "training": training and {"seconds": training["wall_seconds"], "configurations": training["configurations"]},
        "warmup": {"steps": warmup, "seconds": warmup * seconds.value},
        "seconds_before_first_sample": (training["wall_seconds"] if training else 0.0) + warmup * seconds.value,
        "observables": found,
        "log_z": summary["log_z"],
        "untrusted": {key: text for key, text in (summary.get("untrusted") or {}).items() if "[" not in key},
    }


def _observable(
    reader: SampleReader, catalog: Catalog, name: str, summary: Mapping[str, Any], seconds: Estimate, known: bool
) -> dict[str, Any]:
    """Value, tau_int and rate of one observable, or the reason why none of them is trusted."""
    untrusted = summary.get("untrusted") or {}
    reason = untrusted.get("chains") or untrusted.get(name) or (None if known else "its weights are not numbers")
    entry = summary["observables"].get(name)
    if reason is None and entry is None:
        reason = "not measured"
    if reason is None and entry is not None and entry.get("source") == "reweighted":
        reason = summary["chain_withheld"]
    if reason is None and entry is not None and not catalog.has_series(name):
        return {"value": entry["value"], "error": entry["error"]}
    if reason is None and entry is not None:
        stored, function = catalog.series_of(name, reader.names)
        series = function(chain_series(reader, stored))
        tau_int = autocorrelation_time(series) if np.all(np.isfinite(series)) else Estimate(math.nan, math.nan)
        if math.isfinite(tau_int.value):
            rate, cost = independent_per_second(tau_int, seconds), cost_of_one(tau_int, seconds)
            return {
                "value": entry["value"],
                "error": entry["error"],
                "tau_int": tau_int._asdict(),
                "independent_per_second": rate._asdict(),
                "seconds_of_one": cost._asdict(),
            }
        reason = "its chains are too short for their own autocorrelation time"
    return {"untrusted": reason}


def _break_evens(samplers: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The break-even points of every trained sampler with every untrained one."""
    found = []
    for (name, own), (other_name, other) in itertools.product(samplers.items(), samplers.items()):
        if own["training"] is None or other["training"] is not None:
            continue
        costs = [one["observables"][REFERENCE].get("seconds_of_one") for one in (own, other)]
        entry: dict[str, Any] = {"sampler": name, "against": other_name, "observable": REFERENCE}
        if None in costs:
            found.append(entry | {"verdict": "not trusted", "samples": None})
            continue
        starts = [one["seconds_before_first_sample"] for one in (own, other)]
        outcome = break_even(starts[0], Estimate(**costs[0]), starts[1], Estimate(**costs[1]))
        samples = None if outcome.samples is None else outcome.samples._asdict()
        found.append(entry | {"verdict": outcome.verdict, "samples": samples})
    return found


def _pulls(samplers: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """(first - second) / combined error for all pairs of samplers, for each observable that both give."""
    found = []
    for name in names:
        known = {
            sampler: entry["log_z"] if name == "log_z" else entry["observables"].get(name)
            for sampler, entry in samplers.items()
        }
        known = {sampler: value for sampler, value in known.items() if value and value.get("value") is not None}
        for (first, a), (second, b) in itertools.combinations(known.items(), 2):
            error = math.hypot(a["error"], b["error"])
            if error > 0:
                pull = (a["value"] - b["value"]) / error
                found.append({"observable": name, "first": first, "second": second, "pull": pull})
    return found
