"""The commands."""

import inspect
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from trivmap.cli.completion import complete_card, complete_directory, complete_key, complete_preset
from trivmap.cli.opening import (
    import_quietly,
    open_or_create,
    opened,
    step,
    write_report_if_possible,
    write_report_of,
)
from trivmap.cli.process import (
    allow_own_modules,
    exit_workers,
    one_sentence,
    quieten_dependencies,
    require_possible,
)
from trivmap.cli.signals import stoppable
from trivmap.cli.speaking import speaking, speaking_options
from trivmap.cli.terminal import Commands, say, show_whatever_comes
from trivmap.trust import trusting

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def set_option(example: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option `--set` of a command whose card may hold the key of the `example`."""
    text = f"Override one key of the card, e.g. {example}."
    return click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help=text, shell_complete=complete_key
    )


_set = set_option("training.steps=500")
force_flag = click.option("--force", is_flag=True, help="Start even if memory or disk seems too small.")
json_flag = click.option("--json", "as_json", is_flag=True, help="Print machine-readable JSON.")
out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Directory to make (default: runs/NAME, or runs/NAME-2 and so on).",
)
resume_option = click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Continue the work in this directory instead.",
    shell_complete=complete_directory,
)
_FORMAT = "Write figures in this format, too; PNG is always written. May be given twice."
format_option = click.option(
    "--format", "formats", multiple=True, type=click.Choice(["png", "pdf", "svg"]), help=_FORMAT
)


def file_option(name: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option that names a new file."""
    return click.option(name, type=click.Path(path_type=Path), metavar="FILE", help=text)


trust_flag = click.option(
    "--trust", is_flag=True, help="Run code that the card or directory names, and use altered files."
)
_LAST = (speaking_options, force_flag, json_flag, trust_flag)
card_argument = click.argument("card", required=False, metavar="[CARD_OR_PRESET]", shell_complete=complete_card)
directory_argument = click.argument(
    "directory", type=click.Path(path_type=Path), metavar="DIR", shell_complete=complete_directory
)


def options(*several: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Several options of a command, in the order of its help."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(several):
            function = option(function)
        return function

    return decorate


def command(example: str) -> Callable[[Callable[..., None]], click.Command]:
    """A command whose help ends in an example and whose errors are one sentence."""

    def decorate(function: Callable[..., None]) -> click.Command:
        def guarded(
            *, trust: bool = False, quiet: bool = False, log_file: Path | None = None, **arguments: Any
        ) -> None:
            # The errors of the inner block are lines of the log, too.
            with one_sentence(), speaking(quiet, log_file), one_sentence(), stoppable(), trusting(trust):
                quieten_dependencies()
                allow_own_modules()
                for value in arguments.values():
                    if isinstance(value, Path):
                        require_possible(value)
                function(**arguments)

        guarded.__doc__ = f"{inspect.cleandoc(str(function.__doc__))}\n\n\b\nExample:\n  {example}"
        guarded.__name__ = function.__name__
        guarded.__click_params__ = getattr(function, "__click_params__", [])  # pyright: ignore[reportFunctionMemberAccess]
        return cli.command(name=function.__name__.rstrip("_").replace("_", "-"))(guarded)

    return decorate


HELP = """Machine-learned trivializing maps: train a flow towards exp(-S), sample exactly, measure with honest errors.

A run is a directory; every step can be killed and resumed.

\b
Example:
  trivmap run quickstart --out runs/first
  trivmap show runs/first
"""


@click.group(cls=Commands, context_settings=CONTEXT, help=HELP)
@click.version_option(package_name="trivmap")
def cli() -> None:
    """The group that all commands belong to."""


@command("trivmap run quickstart --set seed=1 --out runs/first")
@options(card_argument, out_option, _set, resume_option, *_LAST)
def run(
    card: str | None, out: Path | None, overrides: tuple[str, ...], resume: Path | None, force: bool, as_json: bool
) -> None:
    """Train, sample, measure and report: the whole of a run card.

    CARD_OR_PRESET is a YAML file or the name of a preset (see trivmap presets).
    """
    from trivmap.cli.results import print_results
    from trivmap.runs.finish import finish
    from trivmap.runs.progress import Interrupted, process_age

    directory, display, plan = open_or_create(card, out, overrides, resume, force, "run")
    # The analysis and its pictures take seconds to import: done while the compiler keeps this thread waiting.
    threading.Thread(target=import_quietly, args=["trivmap.reports.pictures"], daemon=True).start()
    try:
        finish(directory, display, plan, elapsed=process_age(), again=True, after_sampling=exit_workers)
    except Interrupted as stop:
        # A step knows only its own command, which would not finish the run.
        raise stop.going_on_with(f"trivmap run --resume {directory.root}") from stop
    with trusting():
        # The user has decided above whether the code is trusted.
        write_report_if_possible(directory)
    print_results(directory, as_json)


@command("trivmap train quickstart --out runs/first")
@options(card_argument, out_option, _set, resume_option, *_LAST)
def train(
    card: str | None, out: Path | None, overrides: tuple[str, ...], resume: Path | None, force: bool, as_json: bool
) -> None:
    """Train a map in a new run directory, or continue with --resume DIR from its latest checkpoint.

    A run killed at any moment and resumed ends bit-identical to one never killed.
    """
    from trivmap.cli.results import print_results
    from trivmap.runs.progress import process_age
    from trivmap.runs.train import train as train_map

    directory, display, plan = open_or_create(card, out, overrides, resume, force, "train")
    train_map(directory, display, elapsed=process_age(), plan=plan)
    exit_workers()
    print_results(directory, as_json)


@command("trivmap sample runs/first --set sampling.proposals=1000000")
@directory_argument
@set_option("sampling.proposals=200000")
@options(*_LAST)
def sample(directory: Path, overrides: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Draw the proposals a run's card asks for and that are not stored yet; --set may ask for more."""
    from trivmap.runs.sampling import sample as draw

    step(lambda run, display, plan: draw(run, display, plan=plan), directory, overrides, as_json, "sampling", force)


@command("trivmap report runs/first")
@directory_argument
@format_option
@speaking_options
@trust_flag
def report(directory: Path, formats: tuple[str, ...]) -> None:
    """Write report.html and figures/ from what a run has; beside each figure, a CSV file with its numbers."""
    run_directory = opened(directory, code=False)
    say(write_report_of(run_directory, formats))


@command("trivmap show runs/first --json")
@directory_argument
@json_flag
@trust_flag
def show(directory: Path, as_json: bool) -> None:
    """Print a run's state and results."""
    from trivmap.cli.results import print_results
    from trivmap.cli.runs_list import require_one_run
    from trivmap.store.directory import RunDirectory

    require_one_run(directory)
    print_results(RunDirectory.open(directory), as_json)


@command("trivmap list runs")
@click.argument(
    "directory",
    default="runs",
    type=click.Path(path_type=Path),
    metavar="[DIR]",
    shell_complete=complete_directory,
)
@json_flag
@trust_flag
def list_(directory: Path, as_json: bool) -> None:
    """List the runs in a folder (default: runs) and in the folders in it, with their states and results."""
    from trivmap.cli.runs_list import list_runs

    list_runs(directory, as_json)


@command("trivmap compare compare-L8 --out runs/compare-L8")
@options(card_argument, out_option, _set, resume_option)
@click.option("--again", is_flag=True, help="With --resume: measure the rates again, for example on a quieter machine.")
@options(*_LAST)
def compare(
    card: str | None,
    out: Path | None,
    overrides: tuple[str, ...],
    resume: Path | None,
    again: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Run several samplers on one action and compare them: autocorrelation, independent samples per second, costs.

    CARD_OR_PRESET is a compare card or the name of a preset of one (see trivmap presets). Every sampler is a run
    directory inside the comparison's; --set samplers.NAME=null leaves one out.
    """
    from trivmap.cli.compare import run_comparison

    run_comparison(card, out, overrides, resume, again, force, as_json)


@command("trivmap presets")
@click.argument("name", required=False, shell_complete=complete_preset)
@json_flag
def presets(name: str | None, as_json: bool) -> None:
    """List the cards of runs, comparisons and studies that are shipped, and what they cost; with NAME print that card.

    Costs are the configurations on which training evaluates the map, and the proposals.
    """
    from trivmap.cli.listing import list_presets

    list_presets(name, as_json)


@command("trivmap validate my-card.yaml --set lattice='[16, 16]'")
@click.argument("card", metavar="CARD_OR_PRESET", shell_complete=complete_card)
@_set
@options(force_flag, json_flag, trust_flag)
def validate(card: str, overrides: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Check a card as trivmap run does before it starts, and print it with every default.

    Of a compare or study card every run is checked, and their number is printed.

    The last lines say what a run will take: configurations, bytes on disk, at least so many bytes of memory, and
    on a processor an estimate of the seconds.
    """
    from trivmap.cli.validating import validate_card

    validate_card(card, overrides, force, as_json)


def main() -> None:
    """The entry point of the `trivmap` command."""
    show_whatever_comes()
    with one_sentence():
        cli()
