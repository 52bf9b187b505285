"""The command `trivmap study`."""

import sys
from collections.abc import Callable
from pathlib import Path

import click

from trivmap.cli.completion import complete_directory
from trivmap.cli.main import card_argument, command, force_flag, json_flag, out_option, set_option, trust_flag
from trivmap.cli.speaking import speaking_options


def _directory_option(option: str, name: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option that names the directory of a study."""
    kind = click.Path(path_type=Path)
    return click.option(option, name, type=kind, metavar="DIR", help=text, shell_complete=complete_directory)


@command("trivmap study quick-study --out runs/quick")
@card_argument
@out_option
@set_option("seeds=[0]")
@_directory_option("--resume", "resume", "Continue this study instead.")
@_directory_option("--watch", "watched", "Show where a study stands.")
@click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler's address or file (default: this machine).")
@click.option("--workers", type=click.IntRange(min=1), help="Runs at a time on this machine (default: as many as fit).")
@click.option("--resources", multiple=True, metavar="NAME=NUMBER", help="Resources that a run takes, e.g. GPU=1.")
@click.option("--run", "name", metavar="NAME", help="With --resume: execute only this run, in this process.")
@speaking_options
@force_flag
@click.option("--while-parent-lives", is_flag=True, hidden=True)
@json_flag
@trust_flag
def study(
    card: str | None,
    out: Path | None,
    overrides: tuple[str, ...],
    resume: Path | None,
    watched: Path | None,
    scheduler: str | None,
    workers: int | None,
    resources: tuple[str, ...],
    name: str | None,
    while_parent_lives: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Run a scaling study: a grid of runs over lattices, architectures and seeds, and how their costs grow with L.

    CARD_OR_PRESET is a study card or the name of a preset of one (see trivmap presets). Runs are processes on
    this machine, or go to a Dask cluster with --scheduler. A study killed at any moment continues with --resume. Runs
    that failed are reported, and the exit code is then 1.
    """
    from trivmap.cli.study import run_one, run_study
    from trivmap.cli.watching import watch
    from trivmap.errors import InputError

    if watched is not None:
        if (card, out, resume, name) != (None,) * 4:
            raise InputError("--watch only shows a study; leave everything else out")
        watch(watched)
    elif name is not None:
        if resume is None or card is not None:
            raise InputError("--run needs --resume DIR, the study that the run belongs to, and no card")
        run_one(resume, name, while_parent_lives)
    elif run_study(card, out, overrides, resume, scheduler, workers, resources, force, as_json):
        sys.exit(1)
