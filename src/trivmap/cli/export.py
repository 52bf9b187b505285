"""The command `trivmap export`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trivmap.cli.main import command, directory_argument, file_option, json_flag, options, trust_flag
from trivmap.cli.speaking import speaking_options
from trivmap.cli.terminal import say
from trivmap.errors import InputError

if TYPE_CHECKING:
    from trivmap.runs.export import Exported


@command("trivmap export runs/first --fields 10000 --out proposals.h5")
@directory_argument
@click.option("--fields", type=int, metavar="N", help="Configurations to write, of all chains together.")
@file_option("--out", "With --fields: the file to make, .h5 or .npz (default: DIR/fields.h5).")
@file_option("--program", "Write the map itself as a program of arrays (.npz), which JAX runs without trivmap.")
@options(speaking_options, json_flag, trust_flag)
def export(directory: Path, fields: int | None, out: Path | None, program: Path | None, as_json: bool) -> None:
    """Write proposals of a run with their log-weights to one file, or its map as a program, for use without trivmap.

    The proposals are drawn again, whole configurations, and need not have been stored. They are independent and need
    their weights: means in exp(-S)/Z are sum(w O) / sum(w).
    """
    from trivmap.cli.opening import opened
    from trivmap.cli.process import shown_progress
    from trivmap.runs.export import export as write
    from trivmap.runs.program import export_program
    from trivmap.store.directory import finite

    if fields is None and (program is None or out is not None):
        raise InputError("--fields: say how many configurations to write, or give --program FILE for the map alone")
    run, lines = opened(directory), list[str]()
    content: dict[str, Any] = {"run": str(run.root)}
    if fields is not None:
        made = write(run, out or run.root / "fields.h5", fields, shown_progress())
        content |= {**made._asdict(), "path": str(made.path)}
        lines += _lines(made)
    if program is not None:
        content["program"] = {"path": str(program), **export_program(run, program)}
        lines.append(f"{program}: functions sample and density, for {' and '.join(content['program']['platforms'])}")
    if as_json:
        say(json.dumps(finite(content), indent=2))
        return
    for line in lines:
        say(line)


def _lines(made: "Exported") -> list[str]:
    lines = [f"{made.path}: fields of shape {list(made.shape)}, {made.dtype}"]
    if made.compared:
        said = f"{made.identical} of {made.compared} log-weights are those of samples.h5 in every bit"
        if made.identical < made.compared:
            said += f", the others differ by up to {made.largest_difference:.2g}"
        if made.apart:
            said += f", {made.apart} of them by more than rounding"
        lines.append(said)
    reasons: dict[str, list[str]] = {}
    for name, reason in (made.untrusted or {}).items():
        reasons.setdefault(reason, []).append(name)
    return [*lines, *(f"warning: the run withholds {', '.join(names)}: {why}" for why, names in reasons.items())]
