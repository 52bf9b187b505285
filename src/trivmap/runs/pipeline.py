"""The steps of a run on its directory: train and measure here, sample in `sampling`.

Each can be killed at any moment and taken up again.
"""

import os
from typing import Any

import equinox as eqx
import jax

from trivmap._types import Key
from trivmap.actions import AbstractAction
from trivmap.errors import InputError
from trivmap.flows import Flow
from trivmap.runs.build import build_action, build_flow, build_plan
from trivmap.runs.card import RunCard
from trivmap.runs.checkpoints import CheckpointStore
from trivmap.runs.directory import RunDirectory, finite
from trivmap.runs.environment import describe_environment
from trivmap.runs.files import storing, write_json
from trivmap.runs.model import load_model, save_model
from trivmap.runs.observer import RunObserver
from trivmap.runs.progress import Clock, Interruption, Progress, Quiet, shown
from trivmap.runs.samples import SampleReader
from trivmap.training import Trainer


def keys(card: RunCard) -> dict[str, Key]:
    """One independent key for each use of randomness, from the card's seed."""
    root = jax.random.key(card.seed)
    return {use: jax.random.fold_in(root, number) for number, use in enumerate(("init", "train", "sample", "stages"))}


def create(card: RunCard, out: str | os.PathLike[str]) -> RunDirectory:
    """A new run directory for a card.

    Raises `InputError`, nothing touched, if `out` exists or the card does not build.
    """
    flow = skeleton(card)
    if card.training is not None:
        optimiser = build_plan(card).optimiser
        try:
            eqx.filter_eval_shape(optimiser.init, eqx.filter(flow, eqx.is_inexact_array))
        except (TypeError, ValueError, IndexError) as error:
            kind = card.training.optimiser.kind
            raise InputError(f"training.optimiser: {kind} cannot train this model ({error})") from error
    summary = {
        "schema": 1,
        "action": {key: value for key, value in card.to_data()["action"].items() if value is not None},
        "lattice": list(card.lattice),
        "seed": card.seed,
        "dtype": card.dtype,
        "model": {"kind": "flow", "parameters": flow.parameters},
        "training": None,
        "sampling": None,
        "log_z": None,
        "observables": {},
    }
    run = RunDirectory.create(out, card, describe_environment(card.seed, card.threads), summary)
    if card.training is None:
        # The flow is what it starts as: a base that needs no training.
        save_model(run.model_path, flow, card)
    return run


def train(run: RunDirectory, progress: Progress | None = None) -> dict[str, Any]:
    """Train the map of a run, from its latest checkpoint if there is one; returns the summary.

    Raises `InputError` when training diverges (the last good state is kept) and `Interrupted` after a signal.
    """
    progress = progress or Quiet()
    card = run.card()
    if card.training is None:
        raise InputError(f"{run.config_path}: has no section training; nothing is to be trained")
    plan = build_plan(card)
    with run.locked(), Interruption.catching() as interruption:
        store = CheckpointStore(run.checkpoints_path, card.digest())
        flow = build_flow(card, keys(card)["init"])
        trainer = Trainer(flow, build_action(card), plan, keys(card)["train"])
        state, metadata = trainer.initial_state(), {}
        if store.latest() is not None:
            state, checkpoint = store.restore(state)
            metadata = checkpoint.metadata
        begun = int(state.step)
        run.truncate_metrics(begun)
        clock = Clock(metadata.get("seconds", 0.0))
        observer = RunObserver(
            run, store, clock, progress, interruption, metadata, compiling=lambda: trainer.compile_seconds
        )
        acceptance = observer.acceptance_at(begun)
        recorded = run.summary().get("training") or {}
        if (recorded.get("steps"), recorded.get("status")) == (
            begun,
            trainer.status(state, acceptance=acceptance, seconds=clock.before),
        ):
            progress.note(f"training is complete ({begun} steps)")
            return run.summary()
        trainer.observer = observer
        with shown(progress, "train", plan.steps, begun):
            outcome = trainer.run(state, seconds_before=clock.total, acceptance=acceptance)
        step = int(outcome.state.step)
        if outcome.status == "seconds" and outcome.evaluation is None and observer.acceptance_at(step) is None:
            observer.evaluated(step, trainer.evaluate(outcome.state), 0.0)
        trained = trainer.flow(outcome.state)
        _save(run, trained, card)
        summary = run.update_summary(
            model={"kind": "flow", "parameters": trained.parameters},
            training={
                "steps": step,
                "configurations": plan.configurations_until(step),
                "wall_seconds": clock.total,
                "compile_seconds": observer.compile_seconds,
                "evaluation_seconds": observer.evaluation_seconds,
                "acceptance_milestones": observer.milestones,
                "status": outcome.status,
                "evaluation": observer.evaluation,
            },
        )
        if outcome.status == "failed":
            raise InputError(f"{run.root}: {outcome.message}")
        interruption.check(f"interrupted at step {step} of {plan.steps}; go on with trivmap train --resume {run.root}")
        return summary


def _save(run: RunDirectory, flow: Flow, card: RunCard) -> None:
    """Keep the trained flow, and make sure that what samples will be drawn with is the flow that was trained."""
    save_model(run.model_path, flow, card)
    if not eqx.tree_equal(load_flow(run)[0], flow):
        raise RuntimeError(f"{run.model_path}: the model does not come back from disk as it was trained")


def load_flow(run: RunDirectory) -> tuple[Flow, AbstractAction, RunCard]:
    """The trained flow of a run, its action, and the card it was trained by."""
    if not run.model_path.exists():
        raise InputError(f"{run.root}: has no trained model yet; train it with trivmap train --resume {run.root}")
    # Only its structure is needed: drawing the initial weights would cost seconds of compilation.
    flow, model_card = load_model(run.model_path, lambda card: eqx.filter_eval_shape(skeleton, card))
    card = run.card()
    if model_card.digest() != card.digest():
        raise InputError(
            f"{run.config_path}: lattice, dtype, action or model differ from what {run.model_path} was trained with; "
            "restore the card, or start a new run"
        )
    return flow, build_action(card), card


def measure(run: RunDirectory, progress: Progress | None = None, card: RunCard | None = None) -> dict[str, Any]:
    """Analyse the samples of a run: observables with errors, and the stages of its map; returns the summary.

    `card` may change the section `measure`; it becomes the run's once it has worked.
    """
    from trivmap.observables import along_the_map, analyse

    progress = progress or Quiet()
    card = card or run.card()
    with run.locked(), SampleReader(run.root) as reader, Interruption.catching() as interruption:
        flow, _, _ = load_flow(run)
        with shown(progress, "measure", 2):
            results = analyse(reader, bins=card.measure.bins)
            with storing(run.observables_path):
                results.to_json(run.observables_path)
            progress.update(1)
            interruption.check(f"interrupted between observables and stages; go on with trivmap measure {run.root}")
            stages = along_the_map(flow, keys(card)["stages"], proposals=card.measure.stages.proposals)
            write_json(run.stages_path, finite(stages.to_dict()))
            progress.update(2)
        if card != run.card():
            run.write_card(card)
        untrusted = {name: reason for name, reason in (run.summary().get("untrusted") or {}).items() if name == "log_z"}
        return run.update_summary(observables=results.summary(), untrusted=untrusted | results.untrusted)


def skeleton(card: RunCard) -> Flow:
    """The untrained flow of a card, as its seed initialises it."""
    return build_flow(card, keys(card)["init"])
