"""Runs the studies of docs/explanation/scaling.md: `python -m experiments.scaling [STUDY ...] [--in DIR]`.

Every study (or those named) is run by `trivmap study` in DIR/STUDY, or continued if it is there. Keeps
study-STUDY.json in results/, draws scaling.png, the cost to 70 percent of all that is kept, and fills the pages.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from experiments.keeping import RESULTS, fill_pages, kept, named_runs, store_shortened
from experiments.scaling_tables import STUDIES
from trivmap.reports.figures.study import cost_figure
from trivmap.reports.figures.style import picture
from trivmap.studies.scaling.analysis import COSTS

COMMAND = [sys.executable, "-m", "trivmap", "study"]
TARGET = "0.7"
VARIED = ("-factors", "-broken")
SHOWN = {"scratch": "continuous, from scratch", "transfer": "continuous, by transfer"}
"""What a label of one study is called among those of others."""
DROPPED = ("observables", "untrusted", "log_z", "processors", "after", "settings", "name")
"""Of every run: what neither page nor picture needs."""


def keep(study: str, folder: Path) -> None:
    """Run a study, or go on with it, and keep its outcome."""
    out = folder / study
    done = subprocess.run(
        [*COMMAND, *(["--resume", str(out)] if out.exists() else [study, "--out", str(out)])], check=False
    )
    if done.returncode not in (0, 1):
        sys.exit(done.returncode)
    result = json.loads((out / "study.json").read_text(encoding="utf-8"))
    for run in result["runs"]:
        for key in DROPPED:
            run.pop(key, None)
        for point in run.get("curve") or []:
            point.pop("ess", None)
    store_shortened(f"study-{study}", result)


def together() -> dict[str, Any]:
    """The runs and fits of all studies that are kept, as those of one, but for variations of a series."""
    found: dict[str, Any] = {"runs": [], "fits": []}
    for study in STUDIES:
        if result := kept(f"study-{study}"):
            shown = {run["label"] for run in result["runs"] if not run["series"].endswith(VARIED)}
            for key in found:
                found[key] += [
                    entry | {"label": SHOWN.get(entry["label"], entry["label"])}
                    for entry in result[key]
                    if entry["label"] in shown
                ]
    return found


def main() -> None:
    """Run what is named, draw, and fill the pages."""
    arguments = named_runs(__doc__, "STUDY").parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    for study in arguments.named or STUDIES:
        keep(study, folder)
    (RESULTS / "scaling.png").write_bytes(picture(cost_figure(together(), TARGET, COSTS)))
    fill_pages()


if __name__ == "__main__":
    main()
