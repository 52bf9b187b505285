"""How the scripts of this folder keep results, show them on pages, and read their command line."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments" / "results"


def kept(name: str, folder: Path = RESULTS) -> Any:
    """What `NAME.json` holds, None if there is no such file."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def store(name: str, content: Any) -> None:
    """Write `experiments/results/NAME.json`."""
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def store_shortened(name: str, content: Any) -> None:
    """Write `experiments/results/NAME.json` in one line, numbers to six digits: for what is long."""
    (RESULTS / f"{name}.json").write_text(json.dumps(_shortened(content)) + "\n", encoding="utf-8")


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shortened(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table, every | of its text escaped."""
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def not_measured(command: str) -> str:
    """A sentence in place of a table whose numbers are missing: it names the command that measures them."""
    return f"Nothing is measured yet; `python -m experiments.{command}` does it.\n"


def named_runs(documentation: str | None, metavar: str) -> argparse.ArgumentParser:
    """The command line of a script that makes what is `named`, or everything, in a `folder`."""
    parser = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("named", nargs="*", metavar=metavar)
    parser.add_argument("--in", dest="folder", type=Path, metavar="DIR")
    return parser


def folder_of_runs(documentation: str | None) -> Path:
    """What the command line of a script names that judges what scaling.py left in a folder."""
    parser = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in", dest="folder", type=Path, metavar="DIR", required=True)
    return parser.parse_args().folder


def fill_pages() -> None:
    """Write what is kept into the pages, in a process of its own."""
    subprocess.run([sys.executable, "-m", "experiments.fill"], check=True, cwd=ROOT)
