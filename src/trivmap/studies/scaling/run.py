"""One run of a study: an ordinary run directory that is completed and marked as complete."""

import os
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from trivmap.errors import InputError
from trivmap.runs import pipeline
from trivmap.runs.finish import finish as finish_run
from trivmap.runs.plan import Plan
from trivmap.runs.progress import Interrupted, NoProgress, Progress
from trivmap.store.directory import RunDirectory
from trivmap.store.plain import is_file
from trivmap.store.sealed import digest
from trivmap.studies.scaling.directory import StudyDirectory
from trivmap.studies.scaling.pinning import Share
from trivmap.training import Trainer


def finish(
    directory: StudyDirectory,
    name: str,
    share: Share,
    progress: Progress | None = None,
    *,
    elapsed: float = 0.0,
    trained: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Make, train, sample and measure a run, without the steps that are done; returns the facts that mark it complete.

    If it is started twice, the second process waits for the first and finds the run complete. `share` is this process's
    part of the machine, for the record; `elapsed` as in `train`. `trained` is called when the costs are known.
    A failure is recorded in the study before it is raised.
    """
    progress, study_run = progress or NoProgress(), directory.found(name)
    with directory.claimed(name):
        done = directory.done(name)
        if done is not None:
            return done
        if study_run.after is not None and directory.done(study_run.after) is None:
            raise InputError(f"{name}: starts from {study_run.after}, which is not complete; run that first")
        plan = Plan(study_run.card)
        try:
            with directory.session(name, lambda: share.exclusive) as sessions:
                _work(directory.run(name), plan, progress, elapsed, trained)
            facts = _facts(plan, share, sessions)
        except Interrupted:
            raise
        except Exception as error:
            directory.note_failure(name, " ".join(str(error).split()) or type(error).__name__)
            raise
        directory.complete(name, facts)
        return facts


def _work(run: RunDirectory, plan: Plan, progress: Progress, elapsed: float, trained: Callable[[], None]) -> None:
    began = time.monotonic()
    if not is_file(run.config_path):
        run = pipeline.create(plan, run.root)
    if run.card().to_data() != plan.card.to_data():
        raise InputError(f"{run.config_path}: differs from study.yaml; restore it, or start a new study")
    finish_run(run, progress, plan, elapsed=elapsed + time.monotonic() - began, after_training=trained)


def _facts(plan: Plan, share: Share, sessions: list[bool]) -> dict[str, Any]:
    return {
        "operations": operations(plan),
        "processors": share.processors,
        # The costs include all sessions.
        "exclusive": all(sessions),
        "sessions": len(sessions),
        # A hash distinguishes machines without showing their names.
        "host": digest(os.uname().nodename)[:8],
        "load": os.getloadavg()[0],
    }


def operations(plan: Plan) -> list[dict[str, Any]]:
    """Arithmetic operations of one training step on every rung of a plan, and for every size of batch.

    It is the compiler's count of every loop's body times its iterations, as a list in the order of the steps.
    """
    counted = []
    for rung in plan.rungs:
        trainer = Trainer(rung.flow(), rung.target, rung.training, rung.keys["train"])
        state = trainer.initial_state()
        step = 0
        for steps, batch in rung.training.phases:
            at = eqx.tree_at(lambda state: state.step, state, jnp.asarray(step, jnp.int32))
            each = trainer.operations(at)
            counted.append({"lattice": list(rung.lattice.shape), "steps": steps, "batch": batch, "operations": each})
            step += steps
    return counted
