"""The steps of a run on its directory: train and measure here, sample in `sampling`.

Each can be killed at any moment and taken up again.
"""

import os
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from trivmap._types import Key
from trivmap.actions import AbstractAction, force_error
from trivmap.errors import InputError
from trivmap.flows import Flow
from trivmap.runs.build import build_action, build_flow, build_plan
from trivmap.runs.card import RunCard
from trivmap.runs.card_model import OwnAction
from trivmap.runs.checkpoints import CheckpointStore
from trivmap.runs.directory import RunDirectory, finite
from trivmap.runs.environment import describe_environment
from trivmap.runs.files import storing, write_json
from trivmap.runs.model import load_model, model_digest, save_model
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
    _require_right_force(card)
    flow = skeleton(card)
    if card.training is not None:
        _require_trainable(card, flow)
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


def _require_trainable(card: RunCard, flow: Flow) -> None:
    """Raise `InputError` where the optimiser cannot take a step with this flow's parameters, seen by tracing one."""
    assert card.training is not None
    optimiser, parameters = build_plan(card).optimiser, eqx.filter(flow, eqx.is_inexact_array)

    def step(gradient: Any) -> Any:
        extra = {"value": jnp.zeros(()), "grad": gradient, "value_fn": lambda _: jnp.zeros(())}
        return optimiser.update(gradient, optimiser.init(gradient), gradient, **extra)

    try:
        # optax mixes dtypes in its own arithmetic.
        with jax.numpy_dtype_promotion("standard"):
            jax.eval_shape(step, parameters)
    except Exception as error:
        raise InputError(
            f"training.optimiser: {card.training.optimiser.kind} cannot train this model ({error})"
        ) from error


def train(run: RunDirectory, progress: Progress | None = None, *, elapsed: float = 0.0) -> dict[str, Any]:
    """Train the map of a run, from its latest checkpoint if there is one; returns the summary.

    `elapsed` are seconds spent before this call that count as wall time: imports, on the command line.
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
            _require_same_past(run, card, plan.configurations_until(int(state.step)), metadata)
        begun = int(state.step)
        run.truncate_metrics(begun)
        clock = Clock(metadata.get("seconds", 0.0), elapsed)
        observer = RunObserver(
            run,
            store,
            clock,
            progress,
            interruption,
            metadata | {"seed": card.seed},
            compiling=lambda: trainer.compile_seconds,
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
            # Samples of another model, if there are any, no longer describe this run.
            sampling=None,
            log_z=None,
            observables={},
            untrusted={},
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


def _require_right_force(card: RunCard) -> None:
    """A force that is not -dS/dphi would spoil the path gradient and the Schwinger-Dyson check without a word."""
    if isinstance(card.action, OwnAction) and jnp.result_type(float) == jnp.float64:
        error = force_error(build_action(card), jax.random.key(0), tuple(card.lattice))
        if not error < 1e-3:
            raise InputError(
                f"action.kind: the force of {card.action.kind} is not -dS/dphi (relative error {error:.2g}); "
                "mend it, or leave it out for automatic differentiation"
            )


def _require_same_past(run: RunDirectory, card: RunCard, configurations: int, metadata: dict[str, Any]) -> None:
    """Refuse a card whose seed or batch sizes differ from those of the steps already taken."""
    if metadata.get("seed", card.seed) != card.seed:
        raise InputError(
            f"{run.config_path}: seed is {card.seed}, but the checkpoint was trained with {metadata['seed']}; "
            "restore it, or start a new run"
        )
    if metadata["configurations"] != configurations:
        raise InputError(
            f"{run.config_path}: training.batch does not fit the {metadata['configurations']} configurations of the "
            "steps already taken; restore it, or start a new run"
        )


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
        if reader.attrs.get("model") not in (None, model_digest(run.model_path)):
            raise InputError(
                f"{run.samples_path}: was drawn with another model than {run.model_path} now holds; move it and "
                f"{run.root / 'samples'} away and run trivmap sample {run.root}"
            )
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
