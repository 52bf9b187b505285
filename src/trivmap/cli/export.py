"""The command `trivmap export`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trivmap.cli.main import command, directory_argument, json_flag, options, trust_flag
from trivmap.cli.speaking import speaking_options
from trivmap.cli.terminal import say

if TYPE_CHECKING:
    from trivmap.runs.export import Exported


@command("trivmap export runs/first --fields 10000 --out proposals.h5")
@directory_argument
@click.option("--fields", type=int, required=True, metavar="N", help="Configurations, of all chains together.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to make, .h5, .npz or .npy (default: RUN/fields.h5).",
)
@options(speaking_options, json_flag, trust_flag)
def export(directory: Path, fields: int, out: Path | None, as_json: bool) -> None:
    """Draw the proposals of a run again and write N of them, whole configurations with their log-weights, to one file.

    They are independent, of the map's density q: means in exp(-S)/Z are sum(w O) / sum(w). A .npy file holds the
    fields alone.
    """
    from trivmap.cli.opening import opened
    from trivmap.cli.process import shown_progress
    from trivmap.runs.export import export as write

    run = opened(directory)
    made = write(run, out or run.root / "fields.h5", fields, shown_progress())
    if as_json:
        content = {"run": str(run.root), **made._asdict(), "path": str(made.path)}
        say(json.dumps(content, indent=2))
    else:
        for line in _lines(made):
            say(line)


def _lines(made: "Exported") -> list[str]:
    lines = [f"{made.path}: fields of shape {list(made.shape)}, {made.dtype}"]
    if made.compared:
        said = f"{made.identical} of {made.compared} log-weights are those of samples.h5 in every bit"
        if made.identical < made.compared:
            said += f", the others differ by up to {made.largest_difference:.2g}"
        lines.append(said)
    if made.path.suffix == ".npy":
        lines.append(
            "no log-weights: the density of these fields is the map's q, not exp(-S)/Z; .npz and .h5 hold them"
        )
    return lines
