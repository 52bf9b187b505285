"""Several samplers on one action: every run of a compare card, then their rates side by side, then the results.

Each sampler is an ordinary run directory; a comparison killed at any moment can be resumed.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trivmap.ahead import processors
from trivmap.errors import InputError, prefixed
from trivmap.runs import pipeline
from trivmap.runs.finish import difference, finish
from trivmap.runs.plan import Plan
from trivmap.runs.progress import Interrupted, Interruption, NoProgress, Progress
from trivmap.store.directory import RunDirectory, finite
from trivmap.store.environment import describe_environment, describe_software
from trivmap.store.files import new_directory, write_environment, write_json, write_text
from trivmap.store.plain import is_file
from trivmap.store.sealed import read_json
from trivmap.store.weights import copy_model, is_model, model_digest
from trivmap.studies.compare_card import FILES, CompareCard, load_compare_card
from trivmap.studies.comparison_result import comparison_result
from trivmap.studies.rates import TimedSampler, measure_rates


class ComparisonDirectory:
    """A directory of runs that `create` makes and `open` opens; `root` is its path."""

    def __init__(self, root: Path):
        self.root = root
        self.card_path, self.rates_path, self.result_path = (root / FILES[key] for key in ("card", "rates", "result"))
        self.table_path, self.page_path, self.figures_path = (root / FILES[key] for key in ("table", "page", "figures"))

    @classmethod
    def create(cls, out: str | os.PathLike[str], card: CompareCard) -> "ComparisonDirectory":
        """Make the directory with the card and a new run for every sampler, all at once.

        Raises `InputError`, with nothing touched, if `out` exists or one of the runs does not build.
        """
        root = Path(out)
        with new_directory(root, "continue with trivmap compare --resume") as partial:
            write_text(cls(partial).card_path, card.to_yaml())
            write_environment(partial, describe_software())
            for name, run_card in card.cards.items():
                with prefixed(f"samplers.{name}: "):
                    pipeline.create(run_card, partial / name)
        return cls(root)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "ComparisonDirectory":
        """An existing comparison; raises `InputError` if there is none."""
        directory = cls(Path(path))
        if not is_file(directory.card_path):
            raise InputError(f"{path}: is not a comparison, it has no comparison.yaml; trivmap compare makes one")
        return directory

    def card(self) -> CompareCard:
        """The compare card in `comparison.yaml`."""
        return load_compare_card(self.card_path)

    def run(self, name: str) -> RunDirectory:
        """The run of a sampler."""
        return RunDirectory.open(self.root / name)

    def result(self) -> dict[str, Any]:
        """The content of `comparison.json`."""
        return read_json(self.result_path, f"continue with trivmap compare --resume {self.root}")


def compare(
    directory: ComparisonDirectory,
    progress: Progress | None = None,
    *,
    report: Callable[[RunDirectory], object] = lambda run: None,
    elapsed: float = 0.0,
    again: bool = False,
) -> dict[str, Any]:
    """Complete a comparison; returns the content of its `comparison.json`.

    `report` is called with each run once it is measured. `elapsed` are seconds spent before this call that count as
    wall time of every training: imports, on the command line. Rates are measured when all runs are complete, and
    only once unless `again`. Raises `Interrupted` after a signal.
    """
    progress = progress or NoProgress()
    card, root = directory.card(), directory.root
    plans = {name: Plan(each) for name, each in card.cards.items()}
    # A comparison is locked like a run.
    with RunDirectory(root).locked():
        # Runs that train maps come before runs that use those maps.
        try:
            for name in sorted(plans, key=lambda name: card.samplers[name].map_of is not None):
                run, source = directory.run(name), card.samplers[name].map_of
                progress.note(f"{name}:")
                if changed := difference(run.card(), plans[name].card):
                    raise InputError(
                        f"{run.config_path}: {changed} differs from comparison.yaml; restore it, or start a new "
                        "comparison"
                    )
                if source is not None:
                    _take_map(directory.run(source), run)
                finish(run, progress, plans[name], elapsed=elapsed, training=source is None and not _trained(run))
                if not run.report_path.exists() or run.report_path.stat().st_mtime < run.summary_path.stat().st_mtime:
                    report(run)
            rates = _rates(directory, card, plans, progress, again)
        except Interrupted as stop:
            # The run's own message would not continue the comparison.
            message = f"interrupted; continue with trivmap compare --resume {root}"
            raise Interrupted(stop.signal_number, message) from stop
        result = finite(comparison_result(directory.root, card, rates))
        write_json(directory.result_path, result)
    return result


def _trained(run: RunDirectory) -> bool:
    """True if training is complete."""
    training = run.summary().get("training") or {}
    return is_model(run.model_path) and training.get("status", "failed") not in ("failed", "interrupted")


def _take_map(source: RunDirectory, run: RunDirectory) -> None:
    """Copy the trained map of another run, with the record of its training."""
    if not is_model(run.model_path) or model_digest(run.model_path) != model_digest(source.model_path):
        copy_model(source.model_path, run.model_path)
    known, present = source.summary(), run.summary()
    if any(present[key] != known[key] for key in ("model", "training")):
        run.update_summary(model=known["model"], training=known["training"])


def _rates(
    directory: ComparisonDirectory, card: CompareCard, plans: dict[str, Plan], progress: Progress, again: bool
) -> dict[str, Any]:
    """The content of `rates.json`, which is measured if it does not exist."""
    drawn = {name: directory.run(name).summary()["sampling"]["proposals"] for name in card.cards}
    if is_file(directory.rates_path) and not again:
        remedy = "delete it to have the rates measured again"
        stored = read_json(directory.rates_path, remedy, shape={"proposals": dict, "samplers": dict})
        if stored["proposals"] == drawn:
            return stored
    with Interruption.catching() as interruption:

        def check() -> None:
            interruption.check("interrupted while rates were measured")

        timed = {}
        for name, plan in plans.items():
            check()
            timed[name] = TimedSampler(directory.run(name), plan)
        load = os.getloadavg()[0]
        found = measure_rates(
            timed, rounds=card.timing.rounds, seconds=card.timing.seconds, progress=progress, check=check
        )
    rates = {
        "proposals": drawn,
        "samplers": {
            name: rate._asdict() | {"seconds_per_step": rate.seconds_per_step._asdict()} for name, rate in found.items()
        },
        # No sampler is restricted to fewer.
        "processors": processors(),
        "load_before": load,
        "environment": describe_environment(card.seed, card.threads),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    write_json(directory.rates_path, finite(rates))
    return rates
