"""Writing a run's report."""

import hashlib
import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from trivmap.cards import yaml_text
from trivmap.errors import InputError
from trivmap.extras import require
from trivmap.reports.checks import tiles
from trivmap.reports.collect import collect
from trivmap.reports.data import RunData
from trivmap.reports.drawings import FORMATS, Drawing
from trivmap.reports.facts import facts, milestones, subtitle
from trivmap.reports.page import PageTable, Row, Section, render, write_page
from trivmap.reports.tables import ResultRow, columns, result_rows
from trivmap.store.directory import RunDirectory
from trivmap.store.folders import inside
from trivmap.trust import trusting


def write_report(run_directory: str | os.PathLike[str], *, formats: Collection[str] = (), trust: bool = False) -> Path:
    """Write `report.html`, `figures/*.png` and `figures/*.csv` into a run directory and return the page's path.

    The page is self-contained. Parts of the run that do not exist yet are named at its end. Each CSV file has the
    numbers of the figure with the same name. Existing figures in other formats are written again.

    Args:
        run_directory: the run.
        formats: formats in which figures are written besides PNG: "pdf", "svg".
        trust: run code that the run's card names, `my_module:MyMap`.

    Raises `InputError` if there is no run directory, if it cannot be written, or if a format is unknown.
    """
    require("reports", "a report")
    from trivmap.reports.pictures import drawings  # matplotlib takes a second to import

    if unknown := set(formats) - set(FORMATS):
        raise InputError(f"formats: {sorted(unknown)[0]!r} is not a format of figures; give some of {sorted(FORMATS)}")

    run = RunDirectory.open(run_directory)
    # Not locked: a report may also be written while the run is in progress.
    with inside(run.root), trusting(trust):
        data = collect(run)
        rows = rows_of(data)
        pictures = drawings(data, rows)
        write_page(run.report_path, page(data, rows, pictures), pictures, formats)
    return run.report_path


def report_is_current(run: RunDirectory) -> bool:
    """True if the report shows the present summary; a report by an older version must be newer than the summary."""
    with run.report_path.open(encoding="utf-8", errors="replace") as file:
        beginning = file.read(1000)
    if found := re.search(r'name="trivmap-results" content="(\w*)"', beginning):
        return found[1] == _fingerprint(run.summary())
    return run.report_path.stat().st_mtime >= run.summary_path.stat().st_mtime


def _fingerprint(summary: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(summary, sort_keys=True).encode()).hexdigest()[:16]


def rows_of(data: RunData) -> list[ResultRow]:
    """The table of results of a run, with all available comparisons."""
    return result_rows(data.judged, reference=data.reference, reweighted=data.reweighted, differences=data.differences)


def page(data: RunData, rows: Sequence[ResultRow], pictures: Sequence[Drawing]) -> str:
    """The HTML text of a report."""
    return render(
        title=data.directory.resolve().name,
        subtitle=subtitle(data),
        description=data.card.get("description"),
        tiles=tiles(data.judged, rows, data.agreement),
        warnings=_warnings(data),
        sections=_sections(data, rows),
        pictures=pictures,
        missing=data.missing,
        results=_fingerprint(data.summary),
    )


def _sections(data: RunData, rows: Sequence[ResultRow]) -> list[Section]:
    blocks = [
        {"title": "Run card (config.yaml)", "text": yaml_text.dump(data.card)},
        {"title": "Environment (environment.json)", "text": yaml_text.dump(data.environment)},
    ]
    return [
        Section("results", "Results", table=_results(data, rows)),
        Section("training", "Training", table=milestones(data)),
        Section("sampling", "Sampling"),
        Section("correlations", "Correlations"),
        Section("map", "Along the map"),
        Section("run", "The run", table=facts(data), blocks=blocks),
    ]


def _results(data: RunData, rows: Sequence[ResultRow]) -> PageTable | None:
    if not rows:
        return None
    header = [name for name in columns(list(rows)) if name != "definition"]
    filled = [Row([row.cells()[name] for name in header], _state(row), row.symbol) for row in rows]
    notes = ["m is the mean of the field, V the number of sites; τ_int in configurations, 1/2 for independent ones."]
    if data.reference is not None:
        notes.append(f"Reference: {data.reference.source}.")
    return PageTable("results", header, filled, " ".join(notes))


def _state(row: ResultRow) -> str:
    if row.reason:
        return "untrusted"
    return "off" if row.pull is not None and abs(row.pull) > 3 else ""


def _warnings(data: RunData) -> list[str]:
    """One line for each reason, with the names that it concerns."""
    names: dict[str, list[str]] = {}
    for name, reason in data.untrusted.items():
        names.setdefault(reason, []).append(name)
    found = [f"{_listed(group)}: {reason}" for reason, group in names.items()]
    if data.log_weights is not None and data.log_weights.invalid:
        found.append(f"{data.log_weights.invalid} log-weights are NaN or +inf: the map or the action overflows")
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else ", ".join(names[:5]) + f" and {len(names) - 5} more"
