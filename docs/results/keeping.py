"""What the scripts of this folder share: how results are kept, how pages show them, and their command line."""

import argparse
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def kept(name: str, folder: Path = HERE) -> Any:
    """What `NAME.json` holds, None if there is no such file."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def store(name: str, content: Any) -> None:
    """Write `docs/results/NAME.json`."""
    (HERE / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table, every | of its text escaped."""
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def named_runs(documentation: str | None, metavar: str) -> argparse.ArgumentParser:
    """The command line of a script that makes what is `named`, or everything, in a `folder`."""
    parser = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("named", nargs="*", metavar=metavar)
    parser.add_argument("--in", dest="folder", type=Path, metavar="DIR")
    return parser
