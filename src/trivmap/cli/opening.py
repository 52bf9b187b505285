"""The run that a command works on: an existing one, or a new one that is known to fit."""

import contextlib
import importlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trivmap.cli.process import exit_workers, making, new_run_path, prepare, shown_progress
from trivmap.cli.room import require_room
from trivmap.cli.speaking import note
from trivmap.errors import InputError, cut
from trivmap.extras import missing

if TYPE_CHECKING:
    from trivmap.runs.plan import Plan
    from trivmap.runs.progress import Progress
    from trivmap.store.directory import RunDirectory


def require_run_card(name: str) -> None:
    """Refuse the name of another kind of card."""
    from trivmap.studies.compare_card import is_comparison
    from trivmap.studies.scaling.card import is_study

    if is_comparison(name):
        raise InputError(f"{name}: compares several samplers; run it with trivmap compare {name}")
    if is_study(name):
        raise InputError(f"{name}: is a study of many runs; run it with trivmap study {name}")


def require_one(
    card: str | None, resume: Path | None, out: Path | None, overrides: tuple[str, ...], kind: str, continues: str
) -> None:
    """Require either a card of this `kind` or `--resume DIR`, and no changes to a resumed run."""
    if (card is None) == (resume is None):
        raise InputError(f"give either a {kind} card (a file or a preset, see trivmap presets) or --resume DIR")
    if resume is not None and (out is not None or overrides):
        raise InputError(f"--resume continues {continues}")


def name_of(loaded: Any, card: str) -> str:
    """The name of a run of this card, unless the user gives another."""
    return loaded.name or Path(card).stem


def open_or_create(
    card: str | None, out: Path | None, overrides: tuple[str, ...], resume: Path | None, force: bool, command: str
) -> "tuple[RunDirectory, Progress, Plan]":
    """The run directory that a command works on, the display of its progress, and the plan of its card."""
    from trivmap.cards.card import load_card
    from trivmap.processes import run_on_main
    from trivmap.runs import pipeline
    from trivmap.runs.plan import Plan
    from trivmap.store.directory import RunDirectory

    require_one(card, resume, out, overrides, "run", "a run as its config.yaml says; --out and --set are for a new one")
    if resume is not None:
        directory, display = opened(resume, joining=True), shown_progress()
        plan = Plan(directory.card())
        require_room([plan], directory.root, force=force, note=display.note)
        return directory, display, plan
    assert card is not None
    require_run_card(card)
    loaded = load_card(card, overrides)
    if command == "train" and loaded.training is None:
        raise InputError(f"{card}: has no section training; trivmap run samples the flow as it is")
    prepare(loaded, joining=True)
    display, chosen = shown_progress(), out if out is not None else new_run_path(name_of(loaded, card))
    plan = Plan(loaded)

    def accept() -> None:
        require_room([plan], chosen, force=force, note=display.note)

    def made() -> str:
        with making(chosen, f"continue it with trivmap {command}"):
            return str(pipeline.create(plan, chosen, accept).root)

    directory = RunDirectory(Path(run_on_main(made)))
    for each in loaded.notes:
        display.note(each)
    display.note(f"run directory: {directory.root}")
    return directory, display, plan


def opened(path: Path, *, joining: bool = False, code: bool = True) -> Any:
    """The run directory at a path, with JAX ready for its card; if the command runs its `code`, it must be trusted."""
    from trivmap.cards.own import require_trust
    from trivmap.store.directory import RunDirectory

    directory = RunDirectory.open(path)
    card = directory.card()
    if code:
        require_trust(path, card)
    prepare(card, joining=joining)
    return directory


def changed_plan(directory: "RunDirectory", overrides: tuple[str, ...], section: str) -> "Plan":
    """The plan of a run after changes to one section of its card. Raises `InputError` for changes to others."""
    from trivmap.runs.plan import Plan

    for override in overrides:
        if not override.startswith(f"{section}."):
            raise InputError(f"--set {cut(override)}: this command can change only keys that begin with {section}.")
    return Plan(directory.card().with_overrides(overrides))


def step(
    work: "Callable[[RunDirectory, Progress, Plan], object]",
    path: Path,
    overrides: tuple[str, ...],
    as_json: bool,
    section: str,
    force: bool = True,
) -> None:
    """One step of the pipeline on an existing run, after changes to its own section of the card."""
    from trivmap.cli.results import print_results

    directory = opened(path, joining=section == "sampling")
    display, plan = shown_progress(), changed_plan(directory, overrides, section)
    if section == "sampling":
        require_room([plan], path, force=force, note=display.note, training=False)
    work(directory, display, plan)
    exit_workers()
    print_results(directory, as_json)


def write_report_of(directory: Any, formats: Collection[str] = ()) -> Path:
    """Write the report of a run, with its figures in these `formats` too; returns the path of the report."""
    from trivmap.reports import write_report

    return write_report(directory.root, formats=formats)


def write_report_if_possible(directory: Any) -> None:
    """Write the report of a run, or note which package is missing: the results do not need the report."""
    if reason := missing("reports", "a report"):
        note(f"trivmap: no report is written; {reason}")
    else:
        write_report_of(directory)


def import_quietly(module: str) -> None:
    """Import a module; a failure is reported later, when the module is needed."""
    with contextlib.suppress(Exception):
        importlib.import_module(module)
