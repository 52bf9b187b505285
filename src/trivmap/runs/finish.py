"""The completion of a run: the remaining training, sampling and measuring."""

from collections.abc import Callable, Sequence
from typing import Any

from trivmap.cards.card import RunCard
from trivmap.cards.headings import TEXTS
from trivmap.runs import pipeline
from trivmap.runs.plan import Plan
from trivmap.runs.progress import NoProgress, Progress
from trivmap.runs.sampling import sample
from trivmap.runs.train import train
from trivmap.store.directory import RunDirectory
from trivmap.training import Logger


def finish(
    run: RunDirectory,
    progress: Progress | None = None,
    plan: Plan | None = None,
    *,
    elapsed: float = 0.0,
    training: bool = True,
    again: bool = False,
    after_training: Callable[[], object] = lambda: None,
    after_sampling: Callable[[], object] = lambda: None,
    loggers: Sequence[Logger] = (),
) -> dict[str, Any]:
    """Train, sample and measure, without the steps that are done; returns the summary.

    Args:
        run: the directory.
        progress: the display of progress.
        plan: the plan to follow, whose card may differ from the run's in `sampling` and `measure` (None: the run's).
        elapsed: seconds spent before this call that count as wall time of training.
        training: False if the run already has its map.
        again: judge the samples and measure them even if that is done.
        after_training: called when the costs of training are known.
        after_sampling: called when everything is drawn.
        loggers: receive the scalars of the records of training.

    Raises:
        InputError: if a step raises it.
        Interrupted: after a signal; everything is saved.
    """
    progress, stored = progress or NoProgress(), run.card()
    plan = plan or Plan(stored)
    wanted = plan.card
    if training and wanted.training is not None:
        train(run, progress, elapsed=elapsed, plan=plan, loggers=loggers)
    after_training()
    drawn = (run.summary().get("sampling") or {}).get("proposals")
    if again or drawn != wanted.sampling.proposals or wanted.sampling != stored.sampling:
        # The new section `measure` is stored after it has been measured, so that a kill in between leaves the old one.
        sample(run, progress, plan=plan.changed(measure=stored.measure))
    after_sampling()
    if again or not pipeline.is_measured(run.summary()) or wanted.measure != stored.measure:
        pipeline.measure(run, progress, plan=plan)
    return run.summary()


def difference(stored: RunCard, wanted: RunCard, *also: str) -> str | None:
    """The first key in which a card differs from the one that a run was made with.

    Keys that a run can change are ignored: its sampling and measuring, its texts, and `also`.
    """
    free = ("sampling", "measure", *TEXTS, *also)
    own, other = stored.to_data(), wanted.to_data()
    return next((key for key in other if key not in free and own[key] != other[key]), None)
