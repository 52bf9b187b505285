"""The table of results: one source for the terminal and for the page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trivmap.estimate import Estimate
from trivmap.observables.catalog import CATALOG
from trivmap.reports.formats import parenthesis
from trivmap.reports.references import Reference
from trivmap.reports.trust import reason_against
from trivmap.runs.verdicts import OF_SAMPLES

if TYPE_CHECKING:
    from rich.table import Table

DIFFERENCE = "chain − reweighted [σ]"


@dataclass(frozen=True)
class ResultRow:
    """The printed numbers of one observable. If it cannot be trusted, `reason` is set and its numbers are withheld.

    `source` is "reweighted" if the reweighted average replaces that of the chain.
    """

    name: str
    estimate: Estimate | None
    tau_int: float | None = None
    tau_int_error: float | None = None
    reweighted: Estimate | None = None
    difference: Estimate | None = None
    reference: Estimate | None = None
    reason: str | None = None
    source: str = "chain"
    symbol: str = ""

    @property
    def pull(self) -> float | None:
        """(value - reference) / combined error."""
        if self.estimate is None or self.reference is None:
            return None
        return in_errors(
            Estimate(self.estimate.value - self.reference.value, math.hypot(self.estimate.error, self.reference.error))
        )

    @property
    def difference_pull(self) -> float | None:
        """(chain - reweighted) / error of the difference."""
        return None if self.difference is None else in_errors(self.difference)

    def _tau_int(self) -> str:
        if self.source == "reweighted" and self.estimate is not None:
            return "rew."
        if self.tau_int is None or self.estimate is None:
            return ""
        return f"{self.tau_int:.3g}" if self.tau_int_error is None else parenthesis(self.tau_int, self.tau_int_error)

    def cells(self) -> dict[str, str]:
        """The printed text by column."""
        return {
            "observable": self.name,
            "definition": self.symbol,
            "value": parenthesis(*self.estimate) if self.estimate else f"not trusted: {self.reason}",
            "τ_int": self._tau_int(),
            "reweighted": parenthesis(*self.reweighted) if self.reweighted else "",
            DIFFERENCE: _signed(self.difference_pull),
            "reference": parenthesis(*self.reference) if self.reference else "",
            "pull [σ]": _signed(self.pull),
        }


def in_errors(difference: Estimate) -> float | None:
    """A difference in units of its error; None if the error is 0 or either is not finite."""
    if not (math.isfinite(difference.value) and math.isfinite(difference.error)) or difference.error <= 0:
        return None
    return difference.value / difference.error


def result_rows(
    summary: Mapping[str, Any],
    *,
    reference: Reference | None = None,
    reweighted: Mapping[str, Estimate] | None = None,
    differences: Mapping[str, Estimate] | None = None,
) -> list[ResultRow]:
    """A row for every observable of `summary.json` and every scalar in its `untrusted`; log Z comes last."""
    entries = {**(summary.get("observables") or {}), "log_z": summary.get("log_z")}
    refused = summary.get("untrusted") or {}
    scalars = [name for name, each in CATALOG.items() if not each.axes]
    withheld = [name for name in refused if "[" not in name and name not in (*CATALOG, *OF_SAMPLES)]
    candidates = [*(name for name in CATALOG.ordered([*scalars, *entries, *withheld]) if name != "log_z"), "log_z"]
    names = [name for name in candidates if entries.get(name) is not None or name in refused]
    known = reference.observables if reference else {}
    rows = []
    for name in names:
        entry: Mapping[str, Any] = entries.get(name) or {}
        reason = reason_against(name, entry, summary)
        rows.append(
            ResultRow(
                name=name,
                estimate=None if reason else Estimate(float(entry["value"]), float(entry["error"])),
                tau_int=_number(entry.get("tau_int")),
                tau_int_error=_number(entry.get("tau_int_error")),
                reweighted=None if reason else (reweighted or {}).get(name),
                difference=None if reason else (differences or {}).get(name),
                reference=known.get(name),
                reason=reason,
                source=entry.get("source", "chain"),
                symbol=CATALOG[name].symbol if name in CATALOG else entry.get("symbol", ""),
            )
        )
    return rows


def columns(rows: list[ResultRow]) -> list[str]:
    """The columns that are not empty."""
    filled = [row.cells() for row in rows]
    return [name for name in (filled[0] if filled else {}) if any(cells[name] for cells in filled)]


def rich_table(
    title: str | None,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    styles: Sequence[str] | None = None,
    whole: bool = False,
) -> "Table":
    """A table for a terminal, each row in its style; with `whole`, columns are never narrower than their cells."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    look: Any = {"title_justify": "left", "header_style": "bold", "box": SIMPLE_HEAD, "padding": (0, 1, 0, 0)}
    table = Table(title=title, pad_edge=not whole, **look)
    for number, name in enumerate(header):
        width = max((len(row[number]) for row in rows), default=0) if whole else None
        table.add_column(Text(name), justify="right" if number else "left", min_width=width, overflow="fold")
    for row, style in zip(rows, styles or [""] * len(rows), strict=True):
        table.add_row(*map(Text, row), style=style)
    return table


def results_table(rows: list[ResultRow], title: str | None = None) -> "Table":
    """The rows as a table for a terminal of 80 columns; the difference replaces the reweighted values."""
    names = [name for name in columns(rows) if name not in ("definition", "reweighted")]
    told: set[str] = set()
    printed, styles = [], []
    for row in rows:
        cells = row.cells()
        if row.reason in told:
            cells["value"] = "not trusted: as above"
        told |= {row.reason} if row.reason else set()
        printed.append([cells[name] for name in names])
        styles.append("yellow" if row.reason else "bold red" if row.pull is not None and abs(row.pull) > 3 else "")
    header = ["Δ [σ]" if name == DIFFERENCE else name for name in names]
    table = rich_table(title, header, printed, styles=styles)
    if DIFFERENCE in names:
        table.caption, table.caption_justify = f"Δ: {DIFFERENCE.removesuffix(' [σ]')}", "left"
    return table


def _number(value: Any) -> float | None:
    value = value.get("value") if isinstance(value, Mapping) else value
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f}"
