"""The steps of a run on its directory: create and measure here, train in `train`, sample in `sampling`.

Each can be killed at any moment and taken up again.
"""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from trivmap._types import Key
from trivmap.actions import AbstractAction, force_error, require_symmetries
from trivmap.bases import FreeField
from trivmap.cards.build import build_action, build_flow, build_plan, build_target
from trivmap.cards.card import RunCard
from trivmap.cards.fields import Section
from trivmap.cards.model import OwnAction
from trivmap.cards.own import own_code, require_trust
from trivmap.cards.sampling import AnnealedSampling, ClusterSampling, FlowSampling
from trivmap.errors import InputError
from trivmap.flows import Flow
from trivmap.lattice import Lattice
from trivmap.optimisers import GaussNewton
from trivmap.processes import first
from trivmap.runs.budget import within_memory
from trivmap.runs.progress import Interruption, Progress, Quiet, shown
from trivmap.samplers import ClusterCycle, HoppingPath
from trivmap.store.directory import RunDirectory, finite
from trivmap.store.environment import describe_environment
from trivmap.store.files import write_json, write_text
from trivmap.store.folders import is_folder
from trivmap.store.levels import read_levels
from trivmap.store.plain import is_file
from trivmap.store.samples import SampleReader
from trivmap.store.sealed import Shape, read_json, seal
from trivmap.store.weights import is_model, load_model, model_digest, save_model
from trivmap.streams import distinct

OF_SAMPLES = ("log_z", "acceptance", "ess", "tau_int", "chains", "sector", "probe")
"""What sampling itself may distrust, measuring aside."""


def integration_complaint(certificate: dict[str, Any]) -> str:
    """Why nothing drawn with a continuous map that failed its certificate is trusted."""
    shown = {key: "unknown" if certificate[key] is None else f"{certificate[key]:.2g}" for key in ("mean", "spread")}
    return (
        f"the integration error of {certificate['steps']} steps is not negligible (mean {shown['mean']}, spread "
        f"{shown['spread']}); raise sampling.integration_steps in a new run"
    )


def keys(card: RunCard) -> dict[str, Key]:
    """One independent key for each use of randomness, from the card's seed and from what is drawn.

    Runs of one seed share no random numbers where they differ in lattice, dtype, action or model. Their samples share
    none where the sampler or the training of the map differs either. With `common_noise` the seed alone counts. What a
    run may be continued with never does: numbers of chains and proposals, parts and batches, the warm-up, names.
    """
    root = jax.random.key(card.seed)
    uses = ("init", "train", "sample", "stages", "probe")
    found = {use: jax.random.fold_in(root, number) for number, use in enumerate(uses)}
    if card.common_noise:
        return found
    theory = [card.lattice, card.dtype, _facts(card.action), _facts(card.model)]
    own = {name: value for name, value in card.sampling.own_settings.items() if name != "integration_steps"}
    samples = [*theory, _training_facts(card), card.sampling.kind, own]
    return {use: distinct(key, *(theory if use in ("init", "train") else samples)) for use, key in found.items()}


def _facts(section: Section | None) -> dict[str, Any] | None:
    """The section without its defaults: a key that a later version adds leaves the random streams as they are."""
    return None if section is None else section.model_dump(mode="json", exclude_defaults=True)


def _training_facts(card: RunCard) -> list[Any]:
    """What makes the trained map on every lattice: not how training is watched, nor where it starts."""
    facts = []
    for rung in card.rungs():
        if (own := rung.training) is not None:
            sections = [_facts(each) for each in (rung.action, own.optimiser, own.temperature, own.stop)]
            facts.append([rung.lattice, *sections, own.objective, own.phases, own.clip, own.ema])
    return facts


def create(
    card: RunCard, out: str | os.PathLike[str], accept: Callable[[int | None], object] = lambda parameters: None
) -> RunDirectory:
    """A new run directory for a card.

    Raises `InputError`, nothing touched, if `out` exists and for whatever `check` refuses, or `accept` of its result.
    """
    parameters = check(card, Path(out))
    accept(parameters)
    summary = _first_summary(card, parameters)
    run = RunDirectory.create(out, card, describe_environment(card.seed, card.threads), summary)
    if card.model is not None and card.training is None:
        # The flow is what it starts as: a base that needs no training.
        save_model(run.model_path, skeleton(card), card)
    return run


def _first_summary(card: RunCard, parameters: int | None) -> dict[str, Any]:
    return {
        "schema": 1,
        "action": {key: value for key, value in card.to_data()["action"].items() if value is not None},
        "lattice": list(card.lattice),
        "seed": card.seed,
        "dtype": card.dtype,
        "model": None if parameters is None else {"kind": "flow", "parameters": parameters},
        "training": None,
        "sampling": None,
        "log_z": None,
        "observables": {},
    }


def renew(run: RunDirectory, card: RunCard) -> None:
    """Write what can be known from the card again where it is missing: the summary, and a map that is not trained.

    Called under the lock by whoever writes the rest again: training, or sampling where there is none.
    """
    if not first():
        return
    if not is_file(run.summary_path):
        parameters = None if card.model is None else eqx.filter_eval_shape(lambda: skeleton(card).parameters)
        run.write_summary(_first_summary(card, parameters))
    if card.model is not None and card.training is None and not is_model(run.model_path):
        save_model(run.model_path, skeleton(card), card)


def check(card: RunCard, root: Path) -> int | None:
    """The number of parameters of a card's map (None without one), once all that a run at `root` needs is found good.

    Only shapes are computed: no weights are drawn, and nothing is written. Raises `InputError` for a card that does not
    build, train or sample.
    """
    _require_right_force(card)
    _require_right_symmetries(card)
    parameters = None
    if card.model is not None:
        # Counted inside: outside there are shapes only, no arrays.
        parameters = eqx.filter_eval_shape(lambda: skeleton(card).parameters)
        for rung in card.rungs():
            flow, target = eqx.filter_eval_shape(skeleton, rung), build_target(rung)
            if card.training is not None or isinstance(card.sampling, FlowSampling):
                flow.require_match(target)
            if flow.decimated:
                # Sites that have no integral by themselves, or wells too narrow for the quadrature, show here.
                jax.eval_shape(target, jax.ShapeDtypeStruct(tuple(rung.lattice), jnp.dtype(rung.dtype)))
    _require_sampler(card)
    if card.training is not None:
        for rung in card.rungs():
            _require_trainable(rung)
        _require_ladder(card)
        if card.training.start is not None:
            started(card, root)
    return parameters


def _require_sampler(card: RunCard) -> None:
    """Refuse now what sampling would refuse after training."""
    match card.sampling:
        case ClusterSampling():
            ClusterCycle(build_action(card), Lattice(card.lattice))
        case AnnealedSampling(moves="heat-bath"):
            HoppingPath(Lattice(card.lattice), build_action(card), dtype=card.dtype)
        case AnnealedSampling() if card.model is None:
            FreeField.hartree(Lattice(card.lattice), build_action(card), learnable=False, dtype=card.dtype)


def started(card: RunCard, root: Path) -> Flow:
    """The flow that training begins with on the first lattice of a card whose run lies at `root`.

    Raises `InputError` where the run that the card starts from has no trained map, or one of another model.
    """
    assert card.training is not None
    rung = card.rungs()[0]
    if card.training.start is None:
        return skeleton(rung)
    own = eqx.filter_eval_shape(skeleton, rung)
    source = root.parent / card.training.start

    def structure(known: RunCard) -> Flow:
        # Nothing runs but what the user's card names, too.
        if not set(own_code(known)) <= set(own_code(rung)):
            require_trust(source, known)
        return eqx.filter_eval_shape(skeleton, known)

    try:
        flow, known = load_model(RunDirectory(source).model_path, structure)
        if (known.lattice, known.action) != (rung.lattice, rung.action):
            flow = flow.resize(Lattice(rung.lattice), build_target(rung))
    except InputError as error:
        raise InputError(f"training.start: {error}") from error
    structures = [jax.tree.structure(each) for each in (flow, own)]
    shapes = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(each)] for each in (flow, own)]
    if structures[0] != structures[1] or shapes[0] != shapes[1]:
        raise InputError(
            f"training.start: the map of {source} is not that of the section model; give the model it was trained with"
        )
    return flow


def require_transfer(below: RunCard, above: RunCard) -> None:
    """Raise `InputError` where a part of the flow of one card cannot be carried to the lattice of another."""

    def carried(below: RunCard, above: RunCard) -> Flow:
        return skeleton(below).resize(Lattice(above.lattice), build_target(above))

    eqx.filter_eval_shape(carried, below, above)


def _require_ladder(card: RunCard) -> None:
    for position, (below, above) in enumerate(itertools.pairwise(card.rungs())):
        try:
            require_transfer(below, above)
        except InputError as error:
            raise InputError(f"training.ladder.{position}: {error}") from error


def _require_trainable(card: RunCard) -> None:
    """Raise `InputError` where the optimiser cannot take a step with this flow's parameters, seen by tracing one."""
    assert card.training is not None
    plan = build_plan(card)
    parameters = eqx.filter_eval_shape(lambda: eqx.filter(skeleton(card), eqx.is_inexact_array))
    if isinstance(plan.optimiser, GaussNewton):
        jax.eval_shape(plan.initial_optimiser_state, parameters)
        return
    optimiser = plan.first_order

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


def _require_right_force(card: RunCard) -> None:
    """A force that is not -dS/dphi would spoil the path gradient and the Schwinger-Dyson check without a word."""
    if isinstance(card.action, OwnAction) and jnp.result_type(float) == jnp.float64:
        error = force_error(build_action(card), jax.random.key(0), tuple(card.lattice))
        if not error < 1e-3:
            raise InputError(
                f"action.kind: the force of {card.action.kind} is not -dS/dphi (relative error {error:.2g}); "
                "mend it, or leave it out for automatic differentiation"
            )


def _require_right_symmetries(card: RunCard) -> None:
    """A symmetry that an action has not would let an odd map be trained for it, or <m> be taken for 0."""
    if isinstance(card.action, OwnAction):
        try:
            require_symmetries(build_action(card), Lattice(card.lattice))
        except InputError as error:
            raise InputError(f"action.kind: {error}") from error


def load_flow(run: RunDirectory) -> tuple[Flow, AbstractAction, RunCard]:
    """The trained flow of a run, the action it is held against, and the card it was trained by.

    A continuous map is integrated in as many steps as its certificate names, once there is one.
    """
    if not is_folder(run.model_path):
        raise InputError(f"{run.root}: has no trained model yet; train it with trivmap train --resume {run.root}")
    card = run.card()

    def structure(model_card: RunCard) -> Flow:
        # Before anything is built: the header might name code that the card does not.
        if model_card.digest() != card.digest():
            raise InputError(
                f"{run.config_path}: lattice, dtype, action or model differ from what {run.model_path} was trained "
                "with; restore the card, or start a new run"
            )
        # Only the structure is needed: drawing the initial weights would cost seconds of compilation.
        return eqx.filter_eval_shape(skeleton, model_card)

    flow, _ = load_model(run.model_path, structure)
    if flow.integration_steps is not None and is_file(run.certificate_path):
        noted = read_certificate(run)
        if noted["model"] == model_digest(run.model_path):
            flow = flow.with_integration_steps(noted["steps"])
    return flow, build_target(card), card


def read_certificate(run: RunDirectory) -> dict[str, Any]:
    """The content of certificate.json; raises `InputError` where it is damaged or altered."""
    remedy = f"delete it and run trivmap sample {run.root}, which measures it again"
    shape: Shape = {"model": str, "asked": (int, NoneType), "steps": int, "passed": bool}
    return read_json(run.certificate_path, remedy, shape=shape)


@within_memory("measure.stages.proposals")
def measure(run: RunDirectory, progress: Progress | None = None, card: RunCard | None = None) -> dict[str, Any]:
    """Analyse the samples of a run: observables with errors, and the stages of its map; returns the summary.

    `card` may change the section `measure`; it becomes the run's once it has worked.
    """
    from trivmap.observables import along_the_map, analyse
    from trivmap.observables.integration_shift import pairs
    from trivmap.observables.trust import ODD

    progress = progress or Quiet()
    card = card or run.card()
    with run.locked(), SampleReader(run.root) as reader, Interruption.catching() as interruption:
        flow, action, _ = (None, None, None) if card.model is None else load_flow(run)
        if flow is not None and reader.attrs.get("model") not in (None, model_digest(run.model_path)):
            raise InputError(
                f"{run.samples_path}: was drawn with another model than {run.model_path} now holds; move it and "
                f"{run.root / 'samples'} away and run trivmap sample {run.root}"
            )
        with shown(progress, "measure", 1):
            results = analyse(
                reader,
                bins=card.measure.bins,
                symmetries=build_action(card).symmetries,
                integration=pairs(read_levels(run.integration_path, model_digest(run.model_path))) if flow else (),
            )
            write_text(run.observables_path, seal(results.to_text()))
            progress.update(1)
        interruption.check(f"interrupted between observables and stages; go on with trivmap measure {run.root}")
        if flow is not None:
            with shown(progress, "stages", 1):
                stages = along_the_map(
                    flow, keys(card)["stages"], action=action, proposals=card.measure.stages.proposals
                )
                write_json(run.stages_path, finite(stages.to_dict()))
                progress.update(1)
        if card != run.card():
            run.write_card(card)
        summary = run.summary()
        untrusted = {name: text for name, text in (summary.get("untrusted") or {}).items() if name in OF_SAMPLES}
        observables, untrusted = results.summary(), untrusted | results.untrusted
        instead = {name for name, entry in observables.items() if entry["source"] == "reweighted"}
        withheld = {untrusted.pop(name) for name in instead & untrusted.keys()}
        certificate = (summary.get("sampling") or {}).get("certificate")
        reason = untrusted.get("chains") or untrusted.get("probe")
        if certificate and not certificate["passed"]:
            reason = integration_complaint(certificate)
        if reason:
            untrusted |= dict.fromkeys((*observables, *results.untrusted), reason)
            observables = {}
        facts: dict[str, Any] = {"observables": observables, "untrusted": untrusted}
        if missing := untrusted.get("sector") or results.info["missing_sector"]:
            untrusted |= dict.fromkeys((*ODD["z2"], *(["log_z"] if summary.get("log_z") else [])), missing)
            facts |= {"log_z": None, "observables": {k: v for k, v in observables.items() if k not in ODD["z2"]}}
        facts["chain_withheld"] = "; ".join(sorted(withheld)) or None
        return run.update_summary(**facts, integration_shift=results.info["integration_shift"])


def skeleton(card: RunCard) -> Flow:
    """The untrained flow of a card, as its seed initialises it."""
    return build_flow(card, keys(card)["init"])
