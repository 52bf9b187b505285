"""The status of every run of a study, from its files, for the command that drives it or for any other process."""

from typing import Any, NamedTuple

from trivmap.store.plain import is_file
from trivmap.studies.scaling.card import StudyRun
from trivmap.studies.scaling.directory import StudyDirectory
from trivmap.trust import trusting


class RunStatus(NamedTuple):
    """One line of a study's progress; `seconds_left` is for the training, None if it is not known."""

    name: str
    state: str
    step: int
    steps: int
    acceptance: float | None
    seconds_left: float | None
    reason: str | None


def status_of(directory: StudyDirectory, run: StudyRun) -> RunStatus:
    """The status of a run. A run that no process works on is waiting, or failed if its last attempt failed."""
    steps, reason = run.card.training_steps, None
    if directory.done(run.name) is not None:
        state = "complete"
        if not is_file(directory.run(run.name).summary_path):
            state, reason = "failed", f"it {directory.gone(run.name)}"
    elif directory.is_claimed(run.name):
        state = "running"
    elif failed := directory.failed(run.name):
        state, reason = "failed", failed["reason"]
    else:
        state = "waiting"
    with trusting():
        # The records of a training in progress are only shown.
        records = directory.run(run.name).metrics() if state != "waiting" else []
    step = max((record["step"] for record in records), default=0)
    judged = [record["evaluation"]["acceptance"] for record in records if "evaluation" in record]
    acceptance = judged[-1]["value"] if judged else None
    return RunStatus(run.name, state, step, steps, acceptance, _left(records, steps, state), reason)


def statuses(directory: StudyDirectory, known: dict[str, RunStatus] | None = None) -> list[RunStatus]:
    """The status of every run, in the order of the card; complete ones are taken from `known` and added to it.

    A run that starts from a failed run counts as failed.
    """
    found: dict[str, RunStatus] = {}
    known = {} if known is None else known
    for name, run in directory.card().runs.items():
        status = known.get(name) or status_of(directory, run)
        if status.state == "waiting" and run.after is not None and found[run.after].state == "failed":
            status = status._replace(state="failed", reason=f"it starts from {run.after}, which failed")
        if status.state == "complete":
            known[name] = status
        found[name] = status
    return list(found.values())


def _left(records: list[dict[str, Any]], steps: int, state: str) -> float | None:
    """Seconds of training that remain at the pace of the latest half of the records."""
    timed = [record for record in records if "loss" in record and record.get("seconds") is not None]
    if state != "running" or len(timed) < 2:
        return None
    first, last = timed[len(timed) // 2 - 1], timed[-1]
    if last["step"] <= first["step"]:
        return None
    return max(0.0, (last["seconds"] - first["seconds"]) / (last["step"] - first["step"]) * (steps - last["step"]))
