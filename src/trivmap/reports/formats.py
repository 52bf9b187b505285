"""Numbers as they are printed."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def parenthesis(value: float, error: float | None = None) -> str:
    """`value` with its standard error in the usual notation, the error to two significant digits.

    6.50774 with 0.00908 is "6.5077(91)", 123.4 with 1.23 is "123.4(1.2)", 12345 with 678 is "12340(680)". Without an
    error, or with the error 0 of a number known exactly, the value alone.
    """
    if not math.isfinite(value):
        return str(value)
    if error is None or error == 0:
        return f"{value:.6g}"
    if not math.isfinite(error):
        return f"{value:.3g}({error})"
    # Rounding to two digits first, so that 0.0996 counts as 0.10.
    error = float(f"{abs(error):.1e}")
    decimals = 1 - math.floor(math.log10(error))
    if error >= 10:
        return f"{round(value, decimals):.0f}({error:.0f})"
    if error >= 1:
        return f"{value:.1f}({error:.1f})"
    return f"{value:.{decimals}f}({round(error * 10**decimals)})"


NONE = "–"
"""Stands in a table for what is not there or not trusted."""


def estimate_cell(entry: Mapping[str, Any] | None) -> str:
    """`parenthesis` of an entry {value, error} of a JSON file, `NONE` where one of them is missing."""
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


def count(number: int) -> str:
    """An integer with thin spaces between groups of three digits."""
    return f"{number:,}".replace(",", "\u202f")
