"""The commands."""

import contextlib
import importlib
import inspect
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from trivmap.cli.process import allow_own_modules, alone, fresh, one_sentence, prepare, shown_progress
from trivmap.trust import trusting

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

_set = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one key of the card, e.g. training.steps=500.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print machine-readable JSON.")
_out = click.option("--out", type=click.Path(path_type=Path), help="Run directory to make (default: runs/NAME-N).")
_resume = click.option("--resume", type=click.Path(path_type=Path), metavar="DIR", help="Go on with this run instead.")
trust_flag = click.option(
    "--trust",
    is_flag=True,
    help="Run code that the card or directory names; use files that were altered.",
)
_directory = click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")


def command(example: str) -> Callable[[Callable[..., None]], click.Command]:
    """A command whose help ends in an example and whose errors are one sentence."""

    def decorate(function: Callable[..., None]) -> click.Command:
        def guarded(*, trust: bool = False, **arguments: Any) -> None:
            with one_sentence(), trusting(trust):
                allow_own_modules()
                function(**arguments)

        guarded.__doc__ = f"{inspect.cleandoc(str(function.__doc__))}\n\n\b\nExample:\n  {example}"
        guarded.__name__ = function.__name__
        guarded.__click_params__ = getattr(function, "__click_params__", [])  # pyright: ignore[reportFunctionMemberAccess]
        return cli.command(name=function.__name__.rstrip("_"))(guarded)

    return decorate


HELP = """Machine-learned trivializing maps: train a flow towards exp(-S), sample exactly, measure with honest errors.

A run is a directory; every step can be killed and taken up again.

\b
Example:
  trivmap run quickstart --out runs/first
  trivmap show runs/first
"""


@click.group(context_settings=CONTEXT, help=HELP)
@click.version_option(package_name="trivmap")
def cli() -> None:
    """The group that all commands belong to."""


@command("trivmap run quickstart --set seed=1 --out runs/first")
@click.argument("card", required=False, metavar="[CARD_OR_PRESET]")
@_out
@_set
@_resume
@_json
@trust_flag
def run(card: str | None, out: Path | None, overrides: tuple[str, ...], resume: Path | None, as_json: bool) -> None:
    """Train, sample, measure and report: the whole of a run card.

    CARD_OR_PRESET is a YAML file or the name of a preset (see trivmap presets).
    """
    from trivmap.cli.results import print_results
    from trivmap.runs.pipeline import measure as analyse
    from trivmap.runs.progress import process_age
    from trivmap.runs.sampling import sample as draw
    from trivmap.runs.train import train as train_map

    directory, display = _open_or_create(card, out, overrides, resume)
    # The analysis and its pictures take seconds to import: done while the compiler keeps this thread waiting.
    threading.Thread(target=_import_quietly, args=["trivmap.reports.pictures"], daemon=True).start()
    if directory.card().training is not None:
        train_map(directory, display, elapsed=process_age())
    draw(directory, display)
    alone()
    analyse(directory, display)
    with trusting():
        _write_report(directory)
    print_results(directory, as_json)


@command("trivmap train quickstart --out runs/first")
@click.argument("card", required=False, metavar="[CARD_OR_PRESET]")
@_out
@_set
@_resume
@_json
@trust_flag
def train(card: str | None, out: Path | None, overrides: tuple[str, ...], resume: Path | None, as_json: bool) -> None:
    """Train a map in a new run directory, or go on with --resume DIR from its latest checkpoint.

    A run killed at any moment and resumed ends bit-identical to one never killed.
    """
    from trivmap.cli.results import print_results
    from trivmap.runs.progress import process_age
    from trivmap.runs.train import train as train_map

    directory, display = _open_or_create(card, out, overrides, resume, to_train=True)
    train_map(directory, display, elapsed=process_age())
    alone()
    print_results(directory, as_json)


@command("trivmap sample runs/first --set sampling.proposals=1000000")
@_directory
@_set
@_json
@trust_flag
def sample(directory: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Draw the proposals a run's card asks for and that are not stored yet; --set may ask for more."""
    from trivmap.runs.sampling import sample as draw

    _step(draw, directory, overrides, as_json, "sampling")


@command("trivmap measure runs/first")
@_directory
@_set
@_json
@trust_flag
def measure(directory: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Analyse the samples of a run: observables with errors, and the stages of its map."""
    from trivmap.runs.pipeline import measure as analyse

    _step(analyse, directory, overrides, as_json, "measure")


@command("trivmap report runs/first")
@_directory
@trust_flag
def report(directory: Path) -> None:
    """Write report.html and figures/ from what a run has."""
    click.echo(_write_report(_opened(directory, code=False)))


@command("trivmap show runs/first --json")
@_directory
@_json
@trust_flag
def show(directory: Path, as_json: bool) -> None:
    """Print a run's state and results."""
    from trivmap.cli.results import print_results
    from trivmap.store.directory import RunDirectory

    print_results(RunDirectory.open(directory), as_json)


@command("trivmap compare compare-L8 --out runs/compare-L8")
@click.argument("card", required=False, metavar="[CARD_OR_PRESET]")
@_out
@_set
@_resume
@click.option("--again", is_flag=True, help="With --resume: measure the rates again, on a quieter machine, say.")
@_json
@trust_flag
def compare(
    card: str | None, out: Path | None, overrides: tuple[str, ...], resume: Path | None, again: bool, as_json: bool
) -> None:
    """Run several samplers on one action and compare them: autocorrelation, independent samples per second, costs.

    CARD_OR_PRESET is a compare card or the name of a preset of one (see trivmap presets). Every sampler is a run
    directory inside the comparison's; --set samplers.NAME=null leaves one out.
    """
    from trivmap.cli.compare import run_comparison

    run_comparison(card, out, overrides, resume, again, as_json)


@command("trivmap presets")
@click.argument("name", required=False)
@_json
def presets(name: str | None, as_json: bool) -> None:
    """List and explain the cards of runs, comparisons and studies that are shipped; with NAME print that card."""
    from trivmap.cli.listing import list_presets

    list_presets(name, as_json)


@command("trivmap validate my-card.yaml --set lattice='[16, 16]'")
@click.argument("card", metavar="CARD_OR_PRESET")
@_set
@_json
@trust_flag
def validate(card: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check a run card and print it whole, every default written out."""
    import equinox as eqx

    _require_run_card(card)

    from trivmap.cards.build import build_plan
    from trivmap.cards.card import load_card
    from trivmap.cards.own import require_trust
    from trivmap.runs.pipeline import skeleton

    loaded = load_card(card, overrides)
    require_trust(card, loaded)
    prepare(loaded)
    if loaded.training is not None:
        build_plan(loaded)
    parameters = eqx.filter_eval_shape(lambda: skeleton(loaded).parameters)
    if as_json:
        click.echo(json.dumps({"valid": True, "parameters": parameters, "card": loaded.to_data()}, indent=2))
    else:
        click.echo(loaded.to_yaml(), nl=False)
        click.echo(f"# valid; the model has {parameters} parameters")


def main() -> None:
    """The entry point of the `trivmap` command."""
    cli()


def _open_or_create(
    card: str | None, out: Path | None, overrides: tuple[str, ...], resume: Path | None, *, to_train: bool = False
) -> tuple:
    """The run directory to work in, and where to show progress."""
    from trivmap.cards.card import load_card
    from trivmap.errors import InputError
    from trivmap.processes import by_first
    from trivmap.runs import pipeline
    from trivmap.store.directory import RunDirectory

    if (card is None) == (resume is None):
        raise InputError("give either a run card (a file or a preset, see trivmap presets) or --resume DIR")
    if resume is not None:
        if out is not None or overrides:
            raise InputError("--resume goes on with a run as its config.yaml says; --out and --set are for a new one")
        return _opened(resume, joining=True), shown_progress()
    assert card is not None
    _require_run_card(card)
    loaded = load_card(card, overrides)
    if to_train and loaded.training is None:
        raise InputError(f"{card}: has no section training; trivmap run samples the flow as it is")
    prepare(loaded, joining=True)
    name = loaded.name or Path(card).stem
    root = by_first(lambda: str(pipeline.create(loaded, out if out is not None else fresh(name)).root))
    directory, display = RunDirectory(Path(root)), shown_progress()
    for note in loaded.notes:
        display.note(note)
    display.note(f"run directory: {directory.root}")
    return directory, display


def _require_run_card(name: str) -> None:
    """Refuse the name of another kind of card."""
    from trivmap.errors import InputError
    from trivmap.studies.compare_card import is_comparison
    from trivmap.studies.scaling.card import is_study

    if is_comparison(name):
        raise InputError(f"{name}: compares several samplers; run it with trivmap compare {name}")
    if is_study(name):
        raise InputError(f"{name}: is a study of many runs; run it with trivmap study {name}")


def _import_quietly(module: str) -> None:
    """Import it; what fails is told where it is needed."""
    with contextlib.suppress(Exception):
        importlib.import_module(module)


def _opened(path: Path, *, joining: bool = False, code: bool = True) -> Any:
    """The run in a directory; one whose `code` the command would run must be trusted."""
    from trivmap.cards.own import require_trust
    from trivmap.store.directory import RunDirectory

    directory = RunDirectory.open(path)
    card = directory.card()
    if code:
        require_trust(path, card)
    prepare(card, joining=joining)
    return directory


def _step(work: Callable[..., Any], path: Path, overrides: tuple[str, ...], as_json: bool, section: str) -> None:
    """One step of the pipeline on an existing run, after changes to its own section of the card."""
    from trivmap.cli.results import print_results
    from trivmap.errors import InputError

    directory = _opened(path, joining=section == "sampling")
    for override in overrides:
        if not override.startswith(f"{section}."):
            raise InputError(f"--set {override}: this command can change only keys that begin with {section}.")
    work(directory, shown_progress(), directory.card().with_overrides(overrides) if overrides else None)
    alone()
    print_results(directory, as_json)


def _write_report(directory: Any) -> Path:
    from trivmap.reports import write_report

    return write_report(directory.root)
