"""The runs of a study on this machine, each a process of its own; nothing listens to a network."""

import time
from collections.abc import Callable

from trivmap.ahead import processors
from trivmap.runs.progress import Interruption
from trivmap.studies.scaling.attempt import Attempt
from trivmap.studies.scaling.directory import StudyDirectory
from trivmap.trust import is_trusting

_PATIENCE = 10.0
"""Seconds to wait, after a signal, for runs to stop at a safe point."""


def run_here(
    directory: StudyDirectory, workers: int | None = None, *, watching: Callable[[], None] = lambda: None
) -> dict[str, str]:
    """Every run of the study that is not complete; returns the reasons of those that failed.

    `workers` runs execute at a time (None: as many as fit the processors with the card's `threads`). Runs that start
    from another run wait for it. A run that fails is tried again as often as the card allows. `watching` is called
    several times a second. Raises `Interrupted` after a signal; the runs can then be resumed.
    """
    card = directory.card()
    count = workers or max(1, processors() // (card.threads or processors()))
    waiting, running, failures = directory.incomplete(), {}, {}
    attempts = dict.fromkeys(waiting, 0)
    with Interruption.catching() as interruption:
        try:
            while waiting or running:
                for name in [name for name, attempt in running.items() if attempt.ended]:
                    reason = running.pop(name).failure()
                    if reason is not None and attempts[name] <= card.retries:
                        waiting.insert(0, name)
                    elif reason is not None:
                        failures[name] = reason
                for name in list(waiting):
                    before = card.runs[name].after
                    if before in failures:
                        failures[name] = f"it starts from {before}, which failed"
                        waiting.remove(name)
                    elif len(running) < count and (before is None or directory.done(before) is not None):
                        waiting.remove(name)
                        attempts[name] += 1
                        running[name] = Attempt(directory, name, trust=is_trusting())
                watching()
                interruption.check(f"interrupted; continue with trivmap study --resume {directory.root}")
                time.sleep(0.2)
        except BaseException:
            for attempt in running.values():
                attempt.stop()
            deadline = time.monotonic() + _PATIENCE
            for attempt in running.values():
                attempt.wait(max(0.0, deadline - time.monotonic()))
            raise
    watching()
    return failures
