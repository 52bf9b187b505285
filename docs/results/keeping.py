"""What the scripts of this folder keep, and the form in which pages show it."""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def kept(name: str) -> dict[str, Any] | None:
    """What `docs/results/NAME.json` holds, None if there is no such file."""
    path = HERE / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def markdown(content: tuple[list[str], list[list[str]]]) -> list[str]:
    """The lines of a table, every | of its text escaped."""
    header, rows = content
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" for cells in (header, *rows)]
    return [lines[0], "|" + "---|" * len(header), *lines[1:]]
