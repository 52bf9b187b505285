"""The training step of a run: the rungs of its ladder, then its own lattice; each starts from the result below."""

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from trivmap._types import Key
from trivmap.errors import InputError
from trivmap.flows import Flow
from trivmap.processes import is_main_process
from trivmap.runs.budget import within_memory
from trivmap.runs.checking import initial_flow
from trivmap.runs.data import configurations
from trivmap.runs.observer import RunObserver
from trivmap.runs.pipeline import load_flow, renew
from trivmap.runs.plan import Plan
from trivmap.runs.progress import Clock, Interruption, NoProgress, Progress, shown
from trivmap.store.checkpoints import CheckpointStore
from trivmap.store.directory import RunDirectory
from trivmap.store.environment import generator, workforce
from trivmap.store.plain import size
from trivmap.store.weights import is_model, save_model
from trivmap.training import Logger, Outcome, Stored, Trainer


@within_memory("training.batch or training.evaluate.batch")
def train(
    run: RunDirectory,
    progress: Progress | None = None,
    *,
    elapsed: float = 0.0,
    plan: Plan | None = None,
    loggers: Sequence[Logger] = (),
) -> dict[str, Any]:
    """Train the map of a run, from its latest checkpoint if there is one; returns the summary.

    `elapsed` are seconds spent before this call that count as wall time: imports, on the command line.
    `plan` is the plan of the run's card, if the caller has one. `loggers` receive the scalars of the records.
    Raises `InputError` when training diverges (the last good state is kept) and `Interrupted` after a signal.
    """
    progress = progress or NoProgress()
    plan = plan or Plan(run.card())
    card = plan.card
    if card.training is None:
        raise InputError(f"{run.config_path}: has no section training; there is nothing to train")
    ladder = plan.rungs
    with run.locked(), Interruption.catching() as interruption:
        renew(run, plan)
        store = CheckpointStore(run.checkpoints_path, card.digest())
        latest = store.latest()
        metadata: dict[str, Any] = latest.metadata if latest else {}
        clock = Clock(metadata.get("seconds", 0.0), elapsed)
        trainers: list[Trainer] = []
        path = [[rung.card.lattice, rung.card.to_data()["action"]] for rung in ladder[:-1]]
        other = "training.ladder differs from the one that the checkpoint was trained with; restore it"
        _require_same(run, metadata, "ladder", path, other)
        data = card.to_data()["training"]["data"]
        other = "training.data differs from that of the steps already taken; restore it"
        _require_same(run, metadata, "data", data, other)
        observer = RunObserver(
            run,
            store,
            clock,
            progress,
            interruption,
            metadata
            | {
                "seed": card.seed,
                "common_noise": card.common_noise,
                "ladder": path,
                "data": data,
                "generator": generator(plan.keys["train"]),
            },
            compiling=lambda: sum(trainer.compile_seconds for trainer in trainers),
            loggers=loggers,
        )
        first = observer.before["rung"]
        total = observer.before["steps"] + sum(rung.training.steps for rung in ladder[first:])
        flow = ladder[first].flow() if latest else initial_flow(plan, run.root)
        trainer: Trainer | None = None
        outcome: Outcome | None = None
        resumed = 0
        with contextlib.ExitStack() as display, contextlib.closing(observer):
            for position in range(first, len(ladder)):
                rung, final = ladder[position], position == len(ladder) - 1
                observer.next_rung(position, final)
                if trainer is not None and outcome is not None:
                    flow = trainer.flow(outcome.state).resize(rung.lattice, rung.target)
                trainer = Trainer(flow, rung.target, rung.training, _key(plan, position, final), observer)
                trainers.append(trainer)
                state = trainer.initial_state()
                if position == first and latest is not None:
                    state, _ = store.restore(state)
                    done = trainer.plan.configurations_until(int(state.step))
                    _require_same_past(run, plan, observer.before["configurations"] + done, metadata)
                begun = int(state.step) + observer.before["steps"]
                acceptance = observer.acceptance_at(int(state.step))
                if position == first:
                    resumed, recorded = begun, run.summary().get("training") or {}
                    status = trainer.status(state, acceptance=acceptance, seconds=clock.before)
                    if final and status and (recorded.get("steps"), recorded.get("status")) == (begun, status):
                        if is_main_process() and not is_model(run.model_path):
                            _save(run, trainer.flow(state), plan)
                            progress.note(f"{run.model_path}: written again from the checkpoint")
                        progress.note(f"training is complete ({begun} steps)")
                        return run.summary()
                    _begin_metrics(run, begun, metadata, recorded, progress)
                    display.enter_context(shown(progress, "train", total, begun))
                if (fields := configurations(rung.card, run.root)) is not None:
                    trainer.plan = replace(trainer.plan, data=Stored(fields))
                    observer.fix("fields", _same_fields(run, fields, metadata if position == first else {}))
                if len(ladder) > 1:
                    progress.note(f"lattice {rung.card.lattice}: from step {begun} of at most {total}")
                outcome = trainer.run(state, seconds_before=clock.total, acceptance=acceptance)
                if latest is not None and int(outcome.state.step) + observer.before["steps"] == resumed:
                    # Nothing was trained, only written again; this time is not a cost of the map.
                    clock = Clock(clock.before)
                if outcome.status in ("failed", "interrupted"):
                    break
        assert trainer is not None and outcome is not None
        return _concluded(run, plan, trainer, outcome, observer, clock, interruption)


def _key(plan: Plan, position: int, final: bool) -> Key:
    """The key of a rung; the key of the card's own lattice does not depend on the ladder."""
    root = plan.keys["train"]
    return root if final else jax.random.fold_in(root, 2**31 + position)


def _concluded(
    run: RunDirectory,
    plan: Plan,
    trainer: Trainer,
    outcome: Outcome,
    observer: RunObserver,
    clock: Clock,
    interruption: Interruption,
) -> dict[str, Any]:
    """Store the outcome of training, and report how it ended."""
    step, before = int(outcome.state.step), observer.before
    final = before["rung"] == len(plan.rungs) - 1
    if outcome.status == "seconds" and outcome.evaluation is None and observer.acceptance_at(step) is None:
        observer.evaluated(step, trainer.evaluate(outcome.state), 0.0)
    trained = trainer.flow(outcome.state)
    if final and is_main_process():
        _save(run, trained, plan)
    summary = run.update_summary(
        model={"kind": "flow", "parameters": trained.parameters},
        # Samples of an earlier model, if there are any, no longer describe this run.
        sampling=None,
        log_z=None,
        observables={},
        untrusted={},
        training={
            "steps": before["steps"] + step,
            "configurations": before["configurations"] + trainer.plan.configurations_until(step),
            "wall_seconds": clock.total,
            "compile_seconds": observer.compile_seconds,
            "evaluation_seconds": observer.evaluation_seconds,
            "acceptance_milestones": observer.milestones,
            "status": outcome.status,
            "evaluation": observer.evaluation,
            "rungs": observer.rungs,
            "metrics": run.metrics_mark(),
            **workforce(),
        },
    )
    if outcome.status == "failed":
        raise InputError(f"{run.root}: {outcome.message}")
    at = f"{before['steps'] + step} of {plan.card.training_steps}"
    interruption.check(f"interrupted at step {at}; continue with trivmap train --resume {run.root}")
    return summary


def _begin_metrics(
    run: RunDirectory, step: int, metadata: dict[str, Any], recorded: dict[str, Any], progress: Progress
) -> None:
    """Drop records after the step that training continues from, and report missing records before it."""
    if size(run.metrics_path) < metadata.get("metrics_bytes", 0):
        progress.note(f"{run.metrics_path}: lines before step {step} are missing; training continues without them")
    if damage := run.metrics_damage():
        progress.note(damage)
    run.truncate_metrics(step)
    if is_main_process() and recorded:
        # Lines will be added, and if the checkpoint is older, for steps that the summary already knows.
        run.update_summary(training=recorded | {"metrics": run.metrics_mark() | {"step": None}})


def _require_same(run: RunDirectory, metadata: dict[str, Any], key: str, now: Any, complaint: str) -> None:
    """Refuse a card whose `key` differs from that in a checkpoint, if it has one; `complaint` says how."""
    if metadata.get(key, now) != now:
        raise InputError(f"{run.config_path}: {complaint}, or start a new run")


def _same_fields(run: RunDirectory, fields: Array, metadata: dict[str, Any]) -> str:
    """A fingerprint of the training configurations; refuses others than those of the steps already taken."""
    found = hashlib.sha256(np.asarray(fields).tobytes()).hexdigest()
    others = "training.data.run has other configurations than those of the steps already taken; restore them"
    _require_same(run, metadata, "fields", found, others)
    return found


def _require_same_past(run: RunDirectory, plan: Plan, configurations: int, metadata: dict[str, Any]) -> None:
    """Refuse a card whose seed, batch sizes or random numbers differ from those of the steps already taken."""
    card, noted = plan.card, metadata["configurations"]
    other = f"seed is {card.seed}, but the checkpoint was trained with {metadata.get('seed')}; restore it"
    _require_same(run, metadata, "seed", card.seed, other)
    other = f"common_noise is {card.common_noise}, but the checkpoint was trained with the other random numbers"
    # Older versions always used the seed alone.
    _require_same(run, {"common_noise": True} | metadata, "common_noise", card.common_noise, f"{other}; restore it")
    if metadata.get("generator", now := generator(plan.keys["train"])) != now:
        raise InputError(
            f"{run.root}: was trained with the random numbers of {metadata['generator']}, JAX is now set to {now}; set "
            "JAX_THREEFRY_PARTITIONABLE and JAX_DEFAULT_PRNG_IMPL as they were"
        )
    other = f"training.batch does not fit the {noted} configurations of the steps already taken; restore it"
    _require_same(run, metadata, "configurations", configurations, other)


def _save(run: RunDirectory, flow: Flow, plan: Plan) -> None:
    """Store the trained flow, and verify that the stored flow, which samples will use, equals the trained one."""
    save_model(run.model_path, flow, plan.card)
    # Integration steps are static and follow the certificate, so they are not compared.
    kept, saved = (jax.tree.leaves(eqx.filter(each, eqx.is_inexact_array)) for each in (load_flow(run, plan), flow))
    if not eqx.tree_equal(kept, saved):
        raise RuntimeError(f"{run.model_path}: the model read back from disk differs from the trained model")
