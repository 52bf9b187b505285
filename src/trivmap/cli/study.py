"""The command that runs scaling studies."""

import contextlib
import json
import os
import signal
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trivmap.cli.speaking import consoles, note
from trivmap.cli.terminal import say
from trivmap.cli.watching import Watch
from trivmap.errors import InputError, cut, prefixed

if TYPE_CHECKING:
    from trivmap.studies.scaling.directory import StudyDirectory


def run_study(
    card: str | None,
    out: Path | None,
    overrides: tuple[str, ...],
    resume: Path | None,
    scheduler: str | None,
    workers: int | None,
    resources: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> int:
    """The work of `trivmap study`; returns how many runs failed."""
    from trivmap.cards.own import require_trust
    from trivmap.cli.opening import name_of, require_one
    from trivmap.cli.process import making, new_run_path
    from trivmap.cli.room import require_room
    from trivmap.extras import require

    require("studies", "trivmap study")
    from trivmap.reports.study import write_study
    from trivmap.runs.plan import Plan
    from trivmap.store.directory import RunDirectory
    from trivmap.studies.scaling.card import load_study_card
    from trivmap.studies.scaling.directory import StudyDirectory
    from trivmap.studies.scaling.local import run_here
    from trivmap.studies.scaling.programs import forget_programs

    wanted = _resources(resources)
    if wanted and scheduler is None:
        raise InputError("--resources needs --scheduler: the workers on this machine have none")
    if workers is not None and scheduler is not None:
        raise InputError("--workers is for runs on this machine; leave it out with --scheduler")
    continues = "as study.yaml says; --out and --set are for a new study"
    require_one(card, resume, out, overrides, "study", continues)
    if resume is not None:
        directory = StudyDirectory.open(resume)
        require_trust(resume, *(run.card for run in directory.card().runs.values()))
    else:
        assert card is not None
        loaded = load_study_card(card, overrides)
        require_models(loaded)
        chosen = out if out is not None else new_run_path(name_of(loaded, card))
        plans = [Plan(each.card) for each in loaded.runs.values()]
        with making(chosen, "continue with trivmap study"):
            require_room(plans, chosen, force=force, note=note)
            directory = StudyDirectory.create(chosen, loaded)
    display = Watch(directory, *consoles())
    display.note(f"study: {directory.root}")
    with RunDirectory(directory.root).locked():
        failures: dict[str, str] = {}
        if directory.incomplete() and scheduler is None:
            with display:
                failures = run_here(directory, workers, watching=display.refresh)
        elif directory.incomplete():
            failures = _run_elsewhere(directory, scheduler, wanted, display)
        if not directory.incomplete():
            forget_programs(directory.root)
        result = write_study(directory, failures)
    print_study(directory, result, as_json)
    return len(failures)


def _run_elsewhere(
    directory: "StudyDirectory", scheduler: str | None, resources: dict[str, float], display: Watch
) -> dict[str, str]:
    """Execute the runs on another Dask cluster; Dask is imported only for this."""
    from trivmap.studies.scaling.execution import cluster, exposure, run_all

    assert scheduler is not None
    with cluster(scheduler) as client, display:
        if warning := exposure(client):
            display.note(warning)
        return run_all(directory, client, resources=resources, watching=display.refresh, note=display.note)


def run_one(root: Path, name: str, while_parent_lives: bool) -> None:
    """Execute one run of a study in this process, for a worker or for a job array."""
    from trivmap.cards.own import require_trust
    from trivmap.cli.process import prepare, shown_progress
    from trivmap.runs.progress import process_age
    from trivmap.studies.scaling.directory import StudyDirectory
    from trivmap.studies.scaling.pinning import share_of_processors
    from trivmap.studies.scaling.programs import programs_folder
    from trivmap.studies.scaling.run import finish

    if while_parent_lives:
        threading.Thread(target=_until_parent_ends, daemon=True).start()
    directory = StudyDirectory.open(root)
    card = directory.found(name).card
    if not while_parent_lives:
        # Otherwise the command that started this process has checked the trust.
        require_trust(root, card)
    with contextlib.ExitStack() as stack:
        share = stack.enter_context(share_of_processors(card.threads))
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, share.processors)
        prepare(card)
        cached = partial(_keep_programs, programs_folder(directory.root))
        finish(directory, name, share, shown_progress(), elapsed=process_age(), trained=cached)


def _keep_programs(folder: Path | None) -> None:
    """Share compiled programs among the runs of a study, which differ by their seeds; no cost includes compilation."""
    if folder is None:
        return
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    # JAX decided at its first compilation whether there is a cache.
    compilation_cache.reset_cache()


def _until_parent_ends() -> None:
    """Stop this process at a safe point once the other end of its standard input is closed."""
    # Read from the descriptor: if this thread held the lock of sys.stdin, the interpreter would abort at exit.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _resources(texts: tuple[str, ...]) -> dict[str, float]:

    found = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            found[name] = float(number)
        except ValueError as error:
            raise InputError(f"--resources {cut(text)}: write NAME=NUMBER, for example --resources GPU=1") from error
    return found


def require_models(card: Any) -> None:
    """Refuse a card with a model that does not build, at the smallest and the largest lattice of every series."""
    from trivmap.cli.process import prepare
    from trivmap.runs.checking import require_buildable, require_transfer
    from trivmap.runs.plan import Plan

    first = next(iter(card.runs.values()))
    # Only shapes are needed: an accelerator, if there is one, is left to the runs.
    prepare(first.card.model_copy(update={"threads": None, "device": "cpu"}))
    seen: dict[str, Any] = {}
    for run in card.runs.values():
        point = (run.series, tuple(run.settings.items()))
        seen.setdefault(f"{point} first", run)
        seen[f"{point} last"] = run
    for run in seen.values():
        with prefixed(f"series.{run.series}: {run.name}: "):
            plan = Plan(run.card)
            require_buildable(plan)
            if run.after is not None:
                require_transfer(Plan(card.runs[run.after].card), plan)


def print_study(directory: "StudyDirectory", result: dict[str, Any], as_json: bool) -> None:
    """The outcome of a study on stdout."""
    from trivmap.cli.display import console as make_console
    from trivmap.reports.study import fit_rows, not_fitted, run_rows
    from trivmap.reports.tables import rich_table

    if as_json:
        say(json.dumps({"study": str(directory.root), **result}, indent=2))
        return
    console = make_console()
    if not console.is_terminal:
        # A file or a pipe has no width: every run gets one line.
        console = make_console(width=200)
    console.print(f"{directory.root}  {result['name'] or ''}".rstrip(), markup=False, soft_wrap=True)
    for title, (header, rows) in (("Runs", run_rows(result)), ("cost ~ L^z", fit_rows(result))):
        if rows:
            console.print(rich_table(title, header, rows))
    if missing := not_fitted(result):
        console.print(missing, markup=False, soft_wrap=True)
    for entry in result["runs"]:
        if entry["state"] != "complete":
            console.print(f"{entry['state']}: {entry['name']}: {entry['reason']}", markup=False, style="yellow")
    console.print(f"page: {directory.page_path}", markup=False, soft_wrap=True)
