"""The outcome of a comparison: tables, figures and one page for people, and a CSV file for other programs."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from trivmap.cards import yaml_text
from trivmap.estimate import Estimate
from trivmap.observables.catalog import CATALOG
from trivmap.reports.drawings import Drawing
from trivmap.reports.formats import NONE, count, csv_text, duration, estimate_cell
from trivmap.reports.page import Section, plain_table, render, write_page
from trivmap.reports.tables import rich_table
from trivmap.store.files import write_text
from trivmap.studies.comparison import ComparisonDirectory
from trivmap.studies.comparison_result import CONSISTENCY, REFERENCE

if TYPE_CHECKING:
    from rich.table import Table

_COSTS = "Costs, and the number of independent |m| at which the training of the samplers on the right breaks even"


def write_comparison(directory: ComparisonDirectory) -> None:
    """Write `comparison.html`, `comparison.csv` and `figures/*.png` from `comparison.json`."""
    result = directory.result()
    pictures = draw(result)
    write_text(directory.table_path, table_text(result))
    write_page(directory.page_path, page(directory, result, pictures), pictures)


def compared(result: Mapping[str, Any]) -> list[str]:
    """The observables of a comparison; the user's own come last."""
    names = dict.fromkeys(name for entry in result["samplers"].values() for name in entry["observables"])
    return CATALOG.ordered(names)


def rate_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Independent samples per second of every observable."""
    rows = []
    for name, entry in result["samplers"].items():
        cells = [name, _scaled(entry["seconds_per_step"]), _short(entry["acceptance"])]
        for observable in compared(result):
            rate = entry["observables"].get(observable, {}).get("independent_per_second")
            cells.append(_number(rate["value"]) if rate else NONE)
        rows.append(cells)
    return ["sampler", "step [μs]", "accepted", *(f"{CATALOG.short(name)} /s" for name in compared(result))], rows


def time_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """tau_int of every observable, in steps."""
    rows = []
    for name, entry in result["samplers"].items():
        cells = [name]
        for observable in compared(result):
            tau_int = entry["observables"].get(observable, {}).get("tau_int")
            cells.append(_short(tau_int) if tau_int else NONE)
        ess, rate = entry["ess"], entry["effective_samples_per_second"]
        cells += [f"{ess['value']:.3g}" if ess else "", _number(rate) if rate else ""]
        rows.append(cells)
    return ["sampler", *(f"τ {CATALOG.short(name)}" for name in compared(result)), "ESS", "ESS /s"], rows


def cost_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The costs before the first sample, and the samples at which a trained sampler breaks even with each other one."""
    trained = [name for name, entry in result["samplers"].items() if entry["training"]]
    rows = []
    for name, entry in result["samplers"].items():
        training, one = entry["training"], entry["observables"][REFERENCE].get("seconds_of_one")
        cells = [name, duration(training["seconds"]) if training else ""]
        cells += [duration(entry["warmup"]["seconds"]), _scaled(one, 1e3) if one else NONE]
        cells += [_verdict(result, own, name) for own in trained]
        rows.append(cells)
    return ["sampler", "training", "warm-up", "ms a |m|", *trained], rows


def value_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The results of the samplers about the theory."""
    names = [name for name in compared(result) if name in CONSISTENCY or name not in CATALOG]
    rows = []
    for name, entry in result["samplers"].items():
        cells = [name]
        for observable in names:
            known = entry["observables"].get(observable, {})
            cells.append(estimate_cell(known) if "value" in known else NONE)
        rows.append([*cells, estimate_cell(entry["log_z"]) if entry["log_z"] else ""])
    return ["sampler", *(CATALOG.short(name) for name in names), "log Z"], rows


def worst_pulls(result: Mapping[str, Any]) -> str:
    """The largest difference between two samplers for each observable."""
    worst: dict[str, Mapping[str, Any]] = {}
    numbers: dict[str, int] = {}
    for entry in result["consistency"]:
        name = entry["observable"]
        numbers[name] = numbers.get(name, 0) + 1
        if name not in worst or abs(entry["pull"]) > abs(worst[name]["pull"]):
            worst[name] = entry
    parts = [
        f"{name}: {entry['pull']:+.1f} σ ({entry['first']} − {entry['second']}, the largest of {numbers[name]})"
        for name, entry in worst.items()
    ]
    return "; ".join(parts) or "no two samplers give the same observable"


def untrusted(result: Mapping[str, Any]) -> list[str]:
    """One line for every reason of every sampler, with the observables that it concerns."""
    lines = []
    for name, entry in result["samplers"].items():
        reasons: dict[str, list[str]] = {}
        for observable, known in entry["observables"].items():
            if "untrusted" in known:
                reasons.setdefault(known["untrusted"], []).append(observable)
        lines += [f"{name}, {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return lines


def conditions(result: Mapping[str, Any]) -> str:
    """The conditions under which rates were measured."""
    timing, versions = result["timing"], result["environment"]["versions"]
    return (
        f"Medians of {timing['rounds']} rounds of about {timing['seconds']:g} s each, taken in turn in one process "
        f"that may use {timing['processors']} processors (load {timing['load_before']:.1f} at its start), compilation "
        f"excluded; {result['dtype']}, jax {versions['jax']}."
    )


def terminal_tables(result: Mapping[str, Any]) -> list["Table"]:
    """The tables for a terminal."""
    return [
        rich_table("Independent samples per second", *rate_rows(result), whole=True),
        rich_table("τ_int in steps; effective samples by reweighting", *time_rows(result), whole=True),
        rich_table(_COSTS, *cost_rows(result), whole=True),
        rich_table("Results", *value_rows(result), whole=True),
    ]


def table_text(result: Mapping[str, Any]) -> str:
    """One line for every sampler and observable, as CSV."""
    pairs = ("value", "tau_int", "independent_per_second")
    header = [name for pair in pairs for name in (pair, f"{pair}_error")]
    header = ["sampler", "kind", "observable", *header, "seconds_per_step", "training_seconds", "untrusted"]
    rows = []
    for name, entry in result["samplers"].items():
        for observable, known in entry["observables"].items():
            cells: list[Any] = [name, entry["kind"], observable]
            for pair in pairs:
                found = known.get(pair) if pair != "value" else known if "value" in known else None
                cells += [found["value"], found["error"]] if found else ["", ""]
            training = entry["training"]["seconds"] if entry["training"] else 0
            rows.append([*cells, entry["seconds_per_step"]["value"], training, known.get("untrusted", "")])
    return csv_text(header, rows)


def draw(result: Mapping[str, Any]) -> list[Drawing]:
    """The two figures."""
    from trivmap.reports.figures.comparison import break_even_figure, rates_figure

    rates: dict[str, dict[str, Estimate | None]] = {}
    costs: dict[str, tuple[float, Estimate] | None] = {}
    for name, entry in result["samplers"].items():
        found = {key: entry["observables"].get(key, {}).get("independent_per_second") for key in compared(result)}
        rates[name] = {key: Estimate(**rate) if rate else None for key, rate in found.items()}
        one = entry["observables"][REFERENCE].get("seconds_of_one")
        costs[name] = (entry["seconds_before_first_sample"], Estimate(**one)) if one else None
    crossings = []
    for entry in result["break_even"]:
        cost = costs[entry["sampler"]]
        if entry["samples"] and cost:
            start, one = cost
            crossings.append((entry["samples"]["value"], start + entry["samples"]["value"] * one.value))
    labels = {name: rf"${CATALOG[name].tex}$" if name in CATALOG else name for name in compared(result)}
    return [
        Drawing(
            "rates", "speed", "Independent samples per second",
            "1 / (2 τ_int seconds per step), all processors, measuring |m| only.",
            f"Independent samples per second of {len(labels)} observables for each of {len(rates)} samplers, on a "
            "logarithmic scale; the table has the numbers.",
            partial(rates_figure, labels, rates), _rate_columns(rates), True,
        ),
        Drawing(
            "break_even", "costs", "Seconds in all",
            "Training and warm-up, then one independent |m| after another. Circles: a trained sampler breaks even.",
            f"Seconds against the number of independent |m|, one line for each of {len(costs)} samplers; "
            f"{len(crossings)} circles where a trained sampler breaks even.",
            partial(break_even_figure, costs, crossings), _cost_columns(costs), True,
        ),
    ]  # fmt: skip


def _rate_columns(rates: Mapping[str, Mapping[str, Estimate | None]]) -> dict[str, list[Any]]:
    points = [(sampler, name, rate) for sampler, known in rates.items() for name, rate in known.items() if rate]
    return {
        "sampler": [sampler for sampler, _, _ in points],
        "observable": [name for _, name, _ in points],
        "independent_per_second": [rate.value for _, _, rate in points],
        "independent_per_second_error": [rate.error for _, _, rate in points],
    }


def _cost_columns(costs: Mapping[str, tuple[float, Estimate] | None]) -> dict[str, list[Any]]:
    known = {sampler: cost for sampler, cost in costs.items() if cost}
    return {
        "sampler": list(known),
        "seconds_before_the_first": [start for start, _ in known.values()],
        "seconds_of_one": [one.value for _, one in known.values()],
        "seconds_of_one_error": [one.error for _, one in known.values()],
    }


def page(directory: ComparisonDirectory, result: Mapping[str, Any], pictures: Sequence[Drawing]) -> str:
    """The HTML text."""
    lattice = " × ".join(map(str, result["lattice"]))
    couplings = ", ".join(f"{key} {value}" for key, value in result["action"].items())
    blocks = [
        {"title": "Compare card (comparison.yaml)", "text": directory.card_path.read_text()},
        {"title": "Environment", "text": yaml_text.dump(result["environment"])},
    ]
    return render(
        title=result["name"] or directory.root.resolve().name,
        subtitle=f"{lattice}; {couplings}",
        description=result["description"],
        warnings=untrusted(result),
        sections=[
            Section("speed", "Speed", table=plain_table(rate_rows(result), conditions(result))),
            Section("times", "Autocorrelation", table=plain_table(time_rows(result), "τ_int in steps of one chain.")),
            Section("costs", "Costs", table=plain_table(cost_rows(result), "Samples: independent values of |m|.")),
            Section("results", "Results", table=plain_table(value_rows(result), worst_pulls(result))),
            Section("comparison", "The comparison", blocks=blocks),
        ],
        pictures=pictures,
    )


def _verdict(result: Mapping[str, Any], own: str, other: str) -> str:
    """The number of independent samples at which `own` breaks even with `other`."""
    for entry in result["break_even"]:
        if (entry["sampler"], entry["against"]) == (own, other):
            verdict = NONE if entry["verdict"] == "not trusted" else entry["verdict"]
            return _number(float(f"{entry['samples']['value']:.2g}")) if entry["samples"] else verdict
    return ""


def _short(entry: Mapping[str, Any]) -> str:
    """As `parenthesis`, with the error to one digit."""
    value, error = entry["value"], entry["error"]
    if value is None or error is None:
        return NONE
    if error == 0:
        return f"{value:.6g}"
    error = float(f"{error:.0e}")
    decimals = max(0, -math.floor(math.log10(error)))
    return f"{value:.{decimals}f}({round(error * 10**decimals)})"


def _scaled(entry: Mapping[str, Any], factor: float = 1e6) -> str:
    return _number(entry["value"] * factor)


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else count(round(float(f"{value:.3g}")))
