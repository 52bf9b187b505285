"""Short texts for cards, and lines in columns, shared by the lists of cards and of runs."""

from collections.abc import Mapping, Sequence
from typing import Any

NONE = "–"
"""Shown in place of a missing value."""
_LONGEST = 40
"""Most characters in a cell, the first of a line excepted; names of a user's own classes may be long."""


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> list[str]:
    """A line for the header and one for each row, however wide the terminal is.

    Args:
        header: the names of the columns.
        rows: the cells of each line.
        right: the columns of numbers.
    """
    table = [list(header), *([row[0], *map(_short, row[1:])] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if name in right else cell.ljust(width)
            for cell, width, name in zip(row, widths, header, strict=True)
        ).rstrip()
        for row in table
    ]


def grouped(number: int) -> str:
    """A whole number with thin spaces between groups of three digits."""
    return f"{number:,}".replace(",", "\u202f")


def lattice_text(lattices: Sequence[Sequence[int]]) -> str:
    """8x8, or 6x6 to 20x20 for the smallest and the largest of several."""
    texts = ["x".join(map(str, extents)) for extents in sorted(lattices, key=lambda each: (len(each), list(each)))]
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"


def action_text(actions: Sequence[Mapping[str, Any]]) -> str:
    """The kind and the couplings; for several actions, the smallest and largest value of each coupling."""
    parts = [str(actions[0].get("kind"))]
    for key in actions[0]:
        if key in ("kind", "notation"):
            continue
        values = [action[key] for action in actions if key in action]
        same = all(value == values[0] for value in values)
        parts.append(f"{key}={_number(values[0])}" if same else f"{key}={_number(min(values))}..{_number(max(values))}")
    return " ".join(parts)


def method_text(card: Mapping[str, Any]) -> str:
    """The sampler and the kinds of maps of a card's data."""
    sampling, model = card.get("sampling") or {}, card.get("model") or {}
    maps = model.get("maps")
    kinds = [str(part.get("kind")) for part in (maps if isinstance(maps, list) else []) if isinstance(part, dict)]
    kind = str(sampling.get("kind", "flow"))
    return f"{kind}: {', '.join(dict.fromkeys(kinds))}" if kinds else kind


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
