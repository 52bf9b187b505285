"""The printed form of numbers."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trivmap.estimate import parenthesis as parenthesis

NONE = "–"
"""Shown in a table for a value that is missing or not trusted."""


def estimate_cell(entry: Mapping[str, Any] | None) -> str:
    """`parenthesis` of an entry {value, error} of a JSON file, `NONE` if one of them is missing."""
    if entry is None or entry["value"] is None or entry["error"] is None:
        return NONE
    return parenthesis(entry["value"], entry["error"])


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    return buffer.getvalue()


def duration(seconds: float) -> str:
    """Seconds as 0.42 s, 12.3 s, 4 min 05 s or 3 h 12 min."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def roughly(seconds: float) -> str:
    """Seconds to one or two digits, as 8 s, 50 s, 4 min, 12 h or 3 days: for estimates."""
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{float(f'{seconds / size:.2g}'):.0f} {unit}"
    return f"{float(f'{max(1.0, seconds):.1g}' if seconds < 95 else f'{seconds:.2g}'):.0f} s"


def count(number: int) -> str:
    """An integer with thin spaces between groups of three digits."""
    return f"{number:,}".replace(",", "\u202f")
