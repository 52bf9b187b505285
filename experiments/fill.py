"""Keeps what runs gave, and writes it into the pages, so that no figure on them is typed by hand.

    python -m experiments.fill keep runs/quickstart     # results/quickstart.json, from a finished run
    python -m experiments.fill keep runs/again again    # under a name of its own: another seed, say
    python -m experiments.fill                          # every block of README.md and docs/*.md, again

A block stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; NAME is a key of `BLOCKS`.
"""

import contextlib
import io
import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from experiments import (
    card_tables,
    comparison_tables,
    objective_tables,
    performance_tables,
    scaling_tables,
    trust_tables,
)
from experiments.keeping import RESULTS, ROOT, kept, markdown, not_measured
from trivmap.cards.card import RunCard, load_card
from trivmap.cards.presets import RUNS, preset_names, presets
from trivmap.cli.results import print_results
from trivmap.reports import find_reference, result_rows
from trivmap.reports.formats import count, duration, parenthesis
from trivmap.store.directory import RunDirectory
from trivmap.studies.compare_card import PRESETS as COMPARISONS

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*/*.md"))]
BLOCK = re.compile(r"(<!-- begin (?P<name>[\w-]+) -->\n).*?(<!-- end (?P=name) -->)", re.DOTALL)
TABLES = (card_tables, comparison_tables, objective_tables, performance_tables, scaling_tables, trust_tables)
VERSIONS = ("python", "trivmap", "jax")


def changes(card: RunCard) -> list[str]:
    """The keys in which a card differs from the preset of its name, as `--set` would write them."""

    def flat(data: Any, path: str = "") -> dict[str, Any]:
        if isinstance(data, Mapping):
            return {key: value for k, v in data.items() for key, value in flat(v, f"{path}{k}.").items()}
        return {path[:-1]: data}

    own, preset = flat(card.to_data()), flat(load_card(str(card.name)).to_data())
    return [f"{key}={json.dumps(value)}" for key, value in own.items() if preset.get(key) != value]


def keep(directory: Path, name: str | None = None, folder: Path = RESULTS) -> Path:
    """Write `NAME.json` (by default the preset's name) from a finished run of a preset."""
    run = RunDirectory.open(directory)
    card = run.card()
    if card.name not in preset_names():
        sys.exit(f"{directory}: {card.name!r} is no preset; only runs of presets are kept")
    if not (run.observables_path.exists() and run.report_path.exists()):
        sys.exit(f"{directory}: is not finished; continue with trivmap run --resume {directory}")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        print_results(run, as_json=False)
    lines = printed.getvalue().replace(str(run.root), f"runs/{card.name}").splitlines()
    environment = json.loads(run.environment_path.read_text(encoding="utf-8"))
    result = {
        "preset": card.name,
        "changes": changes(card),
        "cores": environment["cores"],
        "devices": sorted({device["platform"] for device in environment["devices"]}),
        "versions": {package: environment["versions"][package] for package in VERSIONS},
        "output": [line.rstrip() for line in lines],
        "summary": run.summary(),
    }
    target = folder / f"{name or card.name}.json"
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return target


def where(result: Mapping[str, Any]) -> str:
    """The machine and the versions of a kept run."""
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    return f"{result['cores']} cores, {'/'.join(result['devices'])}; {versions}"


def quickstart() -> str:
    """What `make demo` printed."""
    result = kept("quickstart")
    if result is None:
        return "No run is kept yet.\n"
    changed = f" with {', '.join(result['changes'])}" if result["changes"] else ""
    output = "\n".join(result["output"])
    return f"```text\n{output}\n```\n\nSeed {result['summary']['seed']}{changed}, on {where(result)}.\n"


def worst(summary: Mapping[str, Any]) -> str:
    """The largest deviation from a reference in combined errors, and its observable."""
    rows = result_rows(summary, reference=find_reference(summary["action"], summary["lattice"]))
    pulls = {row.name: row.pull for row in rows if row.pull is not None}
    if not pulls:
        return ""
    name = max(pulls, key=lambda name: abs(pulls[name]))
    return f"{pulls[name]:+.1f} (`{name}`)"


def table_row(result: Mapping[str, Any]) -> str:
    """A kept run as a row of the presets' table."""
    summary, training = result["summary"], result["summary"]["training"]
    sampling, log_z = summary["sampling"], summary["log_z"]
    cells = [
        f"`{result['preset']}`" + "".join(f"<br>`{change}`" for change in result["changes"]),
        parenthesis(*sampling["acceptance"].values()),
        f"{sampling['ess']:.3g}",
        parenthesis(*sampling["tau_int"].values()),
        parenthesis(*log_z.values()) if log_z else "not trusted",
        worst(summary),
        count(training["configurations"]),
        duration(training["wall_seconds"]),
    ]
    return f"| {' | '.join(cells)} |"


def presets_table() -> str:
    """Every run that is kept, in the order of the presets."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    rows = [table_row(r) for name in preset_names() for r in results if r.get("preset") == name]
    missing = [f"`{name}`" for name in preset_names() if all(r.get("preset") != name for r in results)]
    lines = [
        "| run | acceptance | ESS | tau_int | log Z | worst pull | configurations trained on | training |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]
    machines = sorted({where(r) for r in results if "preset" in r})
    if machines:
        lines += ["", f"Measured on {'; '.join(machines)}."]
    if missing:
        lines += ["", f"No run of this version is kept for {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def milestones() -> str:
    """What the presets of the line needed to an acceptance of 0.7 and 0.9, seed by seed."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("phi4-L*.json"))]
    header = [
        "preset",
        "seed",
        "to 0.7: configurations",
        "s",
        "to 0.9: configurations",
        "s",
        "acceptance",
        "sampling, s",
    ]
    rows = []
    for result in sorted(results, key=lambda r: (r["summary"]["lattice"], r["summary"]["seed"])):
        summary = result["summary"]
        training, cells = summary["training"], [f"`{result['preset']}`", str(summary["seed"])]
        for target in ("0.7", "0.9"):
            cells += cost(training["acceptance_milestones"][target], "wall_seconds")
        cells.append(parenthesis(*training["evaluation"]["acceptance"].values()))
        cells.append(f"{summary['sampling']['wall_seconds']:.0f}")
        rows.append(cells)
    return markdown(header, rows) + "\n"


def forward_ess() -> str:
    """ESS from the flow's proposals, and from an independent sample of its target."""
    result = kept("forward-ess")
    if result is None:
        return not_measured("forward_ess RUN ...")
    rows = []
    for row in sorted(result["rows"], key=lambda row: (row["lattice"], row["preset"], row["seed"])):
        reverse, forward = row["reverse"], row["forward"]
        pull = (forward["value"] - reverse["value"]) / math.hypot(forward["error"], reverse["error"])
        values = [parenthesis(*one.values()) for one in (reverse, forward)]
        rows.append([f"`{row['preset']}`", str(row["seed"]), *values, f"{pull:+.1f}"])
    header = ["preset", "seed", "reverse ESS", "forward ESS", "difference in errors"]
    return markdown(header, rows) + "\n"


def presets_text(package: str = RUNS) -> str:
    """What each card says of itself."""
    parts = []
    for preset in presets(package):
        body = [f"### {preset.name}", preset.description[0].upper() + preset.description[1:] + "."]
        body += [f"Reference: {preset.reference}.", f"Deviations: {preset.deviations}."]
        parts.append("\n\n".join(body))
    return "\n\n".join(parts) + "\n"


def broken_phase() -> str:
    """The broken phase with and without annealing, beside an independent simulation."""
    result = kept("broken-phase")
    if result is None:
        return not_measured("broken_phase")
    simulation = result["simulation"]["abs_magnetization"]
    rows = [[result["simulation"]["algorithm"], "", "", "", parenthesis(*simulation.values())]]
    for name in ("annealed", "not annealed"):
        entry = result[name]
        m = entry["abs_magnetization"]
        cells = [parenthesis(*entry[key].values()) for key in ("acceptance", "reverse_ess", "forward_ess")]
        cells.append(parenthesis(m["value"], m["error"]) if m else "not trusted")
        rows.append([f"flow, {name}", *cells])
    return markdown(["sampler", "acceptance", "reverse ESS", "forward ESS", "<|m|>"], rows) + "\n"


def choices() -> str:
    """Acceptance after the same training with one choice changed."""
    result = kept("choices")
    if result is None:
        return not_measured("choices")
    seeds = len(result["variants"][0]["acceptance"])
    header = ["variant", *(f"seed {seed}" for seed in range(seeds)), "parameters", "cost of a step"]
    rows = []
    for row in result["variants"]:
        values = [f"{value:.3f}" for value in row["acceptance"]]
        rows.append([row["variant"], *values, str(row["parameters"]), f"{row['cost']:g}"])
    return markdown(header, rows) + "\n"


def cost(reached: Mapping[str, Any] | None, clock: str = "processor_seconds") -> list[str]:
    """Configurations and seconds to a target."""
    return [count(reached["configurations"]), f"{reached[clock]:.1f}"] if reached else ["not reached", ""]


def over_seeds(values: Sequence[float | None], form: str) -> str:
    """The value of every seed: two or three of them give no error worth printing."""
    return ", ".join("not reached" if value is None else format(value, form) for value in values) or "not measured"


def ablations() -> str:
    """One thing of the recipe changed at a time, a value for every seed.

    Seconds are processor seconds at the usual pace of the recipe on the machine.
    """
    rows = (kept("ablations") or {}).get("variants")
    if rows is None:
        return not_measured("ablations")
    extents = sorted({row["extent"] for row in rows})
    usual = {extent: median(row["pace"] for row in rows if row["extent"] == extent) for extent in extents}
    heads = [f"L={extent}: {head}" for extent in extents for head in ("to 0.7", "s", "at the end")]
    last = ["seconds per configuration, recipe = 1", "integration: mean, spread"]
    table = []
    for name in dict.fromkeys(row["variant"] for row in rows):
        own = sorted((row for row in rows if row["variant"] == name), key=lambda row: (row["extent"], row["seed"]))
        cells = [name, ", ".join(dict.fromkeys(str(row["parameters"]) for row in own))]
        for extent in extents:
            seeds = [row for row in own if row["extent"] == extent]
            reached = [row["reached"] for row in seeds]
            scales = [usual[extent] / row["pace"] for row in seeds]
            seconds = [r and r["processor_seconds"] * scale for r, scale in zip(reached, scales, strict=True)]
            ends = [float("nan") if row["status"] == "failed" else row["acceptance"] for row in seeds]
            cells += [over_seeds([r and r["configurations"] for r in reached], "d")]
            cells += [over_seeds(seconds, ".1f"), over_seeds(ends, ".3f")]
        cells.append(f"{median(row['processor_seconds'] / row['configurations'] / row['pace'] for row in own):.2f}")
        errors = [row["integration"] for row in own if row.get("integration")]
        cells.append("; ".join(f"{e['mean']:+.3f}, {e['spread']:.3f}" for e in errors) or "not measured")
        table.append(cells)
    return markdown(["variant", "parameters", *heads, *last], table) + "\n"


def scaling() -> str:
    """Cost to 0.7 against L, from scratch and up the ladder."""
    result = (kept("ablations") or {}).get("scaling")
    if result is None:
        return not_measured("ablations")
    rows = []
    groups: dict[tuple[int, str], list[Mapping[str, Any] | None]] = {}
    for row in result["rows"]:
        groups.setdefault((row["extent"], row["kind"]), []).append(row["reached"])
    for (extent, kind), reached in groups.items():
        configurations = over_seeds([r and r["configurations"] for r in reached], "d")
        giga = over_seeds([r and r["operations"] / 1e9 for r in reached], ".3g")
        seconds = over_seeds([r and r["processor_seconds"] for r in reached], ".1f")
        rows.append([str(extent), kind, configurations, giga, seconds])
    header = ["L", "start", "configurations to 0.7, three seeds", "10^9 operations", "processor seconds"]
    fits = [[name.replace("_", " "), parenthesis(z["value"], z["error"])] for name, z in result["exponents"].items()]
    return f"{markdown(header, rows)}\n\n{markdown(['cost ~ L^z', 'z'], fits)}\n"


def optimizers() -> str:
    """Cost to the targets of each optimizer on each map, and what was reached."""
    rows = (kept("optimizers") or {}).get("rows")
    if not rows:
        return not_measured("optimizers")
    header = ["map", "L", "optimizer", "seed", "to 0.7", "s", "to 0.9", "s", "acceptance at the end", "after", "s"]
    table = []
    maps = ("continuous", "local", "dense")

    def place(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return maps.index(row["map"]), row["extent"], row["optimizer"], row["seed"]

    for row in sorted(rows, key=place):
        end = "-" if row["acceptance"] is None else parenthesis(row["acceptance"], row["acceptance_error"])
        cells = [row["map"], str(row["extent"]), row["optimizer"], str(row["seed"])]
        cells += [*cost(row["reached"]["0.7"]), *cost(row["reached"]["0.9"])]
        table.append([*cells, end, count(row["configurations"]), f"{row['processor_seconds']:.1f}"])
    return markdown(header, table) + "\n"


BLOCKS: Mapping[str, Callable[[], str]] = {
    "quickstart": quickstart,
    "presets-table": presets_table,
    "presets-text": presets_text,
    "milestones": milestones,
    "forward-ess": forward_ess,
    "broken-phase": broken_phase,
    "choices": choices,
    "ablations": ablations,
    "scaling": scaling,
    **{name: block for module in TABLES for name, block in module.BLOCKS.items()},
    "comparison-presets": lambda: presets_text(COMPARISONS),
    "optimizers": optimizers,
}


def filled(text: str) -> str:
    """A page with all its blocks written again."""
    return BLOCK.sub(lambda match: match[1] + BLOCKS[match["name"]]() + match[3], text)


def main(arguments: list[str]) -> None:
    """Keep a run, or fill the pages."""
    if arguments[:1] == ["keep"] and len(arguments) in (2, 3):
        keep(Path(arguments[1]), *arguments[2:])
    elif arguments:
        sys.exit(__doc__)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
