"""Runs the presets of the page comparison: `python -m experiments.comparison [PRESET ...] [--in DIR] [--again]`.

Every preset (or those named) is run by `trivmap compare` in DIR/PRESET, or continued if it is there; `--again`
measures rates again. Judges the flow on configurations of embedded clusters (forward_ess.py), copies comparison.json
and the figures in results/ and fills the pages. Other arguments after `--` go to `trivmap compare` of a new
comparison, such as `--set samplers.annealed=null`.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jax

from experiments.forward_ess import judged
from experiments.keeping import RESULTS, fill_pages, named_runs, store
from trivmap.cards.presets import preset_names
from trivmap.loading import Run
from trivmap.store.directory import RunDirectory
from trivmap.studies.compare_card import PRESETS

COMMAND = [sys.executable, "-c", "from trivmap.cli import main; main()", "compare"]


def run(preset: str, folder: Path, again: bool, more: list[str]) -> None:
    """Run a preset, or go on with it, in a process of its own, and keep what it gave."""
    out = folder / preset
    if out.exists():
        arguments = ["--resume", str(out), *(["--again"] if again else [])]
    else:
        arguments = [preset, "--out", str(out), *more]
    subprocess.run([*COMMAND, *arguments], check=True)
    keep(preset, out)


def keep(preset: str, out: Path) -> None:
    """Copy the outcome and its figures."""
    result = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    result["forward_ess"] = judged(Run(RunDirectory.open(out / "flow")))
    for entry in result["samplers"].values():
        # Of every chain: long, and not on the page.
        (entry["diagnostics"] or {}).pop("width", None)
    store(preset, result)
    for picture in (out / "figures").glob("*.png"):
        shutil.copyfile(picture, RESULTS / f"{preset}-{picture.stem.replace('_', '-')}.png")


def main() -> None:
    """Run what is named and fill the pages."""
    jax.config.update("jax_enable_x64", True)
    parser = named_runs(__doc__, "PRESET")
    parser.add_argument("--again", action="store_true")
    given = sys.argv[1:]
    place = given.index("--") if "--" in given else len(given)
    arguments, more = parser.parse_args(given[:place]), given[place + 1 :]
    folder = arguments.folder or Path(tempfile.mkdtemp())
    for preset in arguments.named or preset_names(PRESETS):
        run(preset, folder, arguments.again, more)
    fill_pages()


if __name__ == "__main__":
    main()
