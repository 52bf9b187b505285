"""The steps of a run on its directory: create and measure here, train in `train`, sample in `sampling`.

Each can be killed at any moment and resumed.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.flows import Flow
from trivmap.processes import is_main_process
from trivmap.runs.budget import within_memory
from trivmap.runs.checking import check
from trivmap.runs.plan import Plan
from trivmap.runs.progress import Interruption, NoProgress, Progress, shown
from trivmap.runs.verdicts import OF_SAMPLES, OF_WEIGHTS, integration_reason, judged, reasons_of_samples
from trivmap.store.directory import RunDirectory, finite
from trivmap.store.environment import describe_environment
from trivmap.store.files import write_json, write_sealed_text
from trivmap.store.folders import is_folder
from trivmap.store.levels import read_levels
from trivmap.store.plain import is_file
from trivmap.store.samples import SampleReader
from trivmap.store.sealed import Shape, read_json
from trivmap.store.weights import is_model, load_model, model_digest, save_model

if TYPE_CHECKING:
    from trivmap.diagnostics.integration_error import Level
    from trivmap.observables import Results


def create(
    card: RunCard | Plan, out: str | os.PathLike[str], accept: Callable[[], object] = lambda: None
) -> RunDirectory:
    """A new run directory for a card, or for the plan of a card.

    Raises `InputError`, with nothing touched, if `out` exists, if `check` refuses the card, and then if `accept` does.
    """
    plan = card if isinstance(card, Plan) else Plan(card)
    check(plan, Path(out))
    accept()
    card = plan.card
    run = RunDirectory.create(out, card, describe_environment(card.seed, card.threads), _first_summary(plan))
    if card.model is not None and card.training is None:
        # The flow is used as it starts: its base needs no training.
        save_model(run.model_path, plan.flow(), card)
    return run


def _first_summary(plan: Plan) -> dict[str, Any]:
    card = plan.card
    return {
        "schema": 1,
        "action": {key: value for key, value in card.to_data()["action"].items() if value is not None},
        "lattice": list(card.lattice),
        "seed": card.seed,
        "dtype": card.dtype,
        "model": None if card.model is None else {"kind": "flow", "parameters": plan.parameters},
        "training": None,
        "sampling": None,
        "log_z": None,
        "observables": {},
    }


def renew(run: RunDirectory, plan: Plan) -> None:
    """Write the summary and the untrained map again if they are missing: the card determines both.

    Called under the lock by the step that writes the rest again: training, or sampling if there is no training.
    """
    if not is_main_process():
        return
    if not is_file(run.summary_path):
        run.write_summary(_first_summary(plan))
    card = plan.card
    if card.model is not None and card.training is None and not is_model(run.model_path):
        save_model(run.model_path, plan.flow(), card)


def load_flow(run: RunDirectory, plan: Plan) -> Flow:
    """The trained flow of a run that follows a plan.

    A continuous map is integrated in the number of steps that its certificate names, once there is one.
    """
    if not is_folder(run.model_path):
        raise InputError(f"{run.root}: has no trained model yet; train it with trivmap train --resume {run.root}")

    def structure(model_card: RunCard) -> Flow:
        # Checked before anything is built: the header might name code that the card does not.
        if model_card.digest() != plan.card.digest():
            raise InputError(
                f"{run.config_path}: lattice, dtype, action or model differ from what {run.model_path} was trained "
                "with; restore the card, or start a new run"
            )
        # Only the structure is needed: drawing the initial weights would cost seconds of compilation.
        return plan.shapes

    flow, _ = load_model(run.model_path, structure)
    noted = None if flow.integration_steps is None else _certificate(run)
    return flow if noted is None else flow.with_integration_steps(noted["steps"])


def load_certified(run: RunDirectory, plan: Plan) -> tuple[Flow, dict[str, Any] | None]:
    """The trained flow of a run whose density may be used, and its certificate; None for a flow that is exact.

    Raises `InputError` as `load_flow`, and for a continuous map whose integration error is not measured or too large.
    """
    flow = load_flow(run, plan)
    if flow.integration_steps is None:
        return flow, None
    noted = _certificate(run)
    if noted is None:
        raise InputError(
            f"{run.root}: the integration error of its map is not measured yet; run trivmap sample {run.root}"
        )
    if not noted["passed"]:
        raise InputError(f"{run.root}: {integration_reason(noted)}")
    return flow, noted


def _certificate(run: RunDirectory) -> dict[str, Any] | None:
    """The certificate of the map of a run, None if there is none of this map."""
    noted = read_certificate(run) if is_file(run.certificate_path) else None
    return noted if noted and noted["model"] == model_digest(run.model_path) else None


def facts_of_samples(card: RunCard) -> dict[str, Any]:
    """The facts of a card that its samples carry; a model's samples also carry a digest of the model."""
    facts = {
        "kind": card.sampling.kind,
        "lattice": list(card.lattice),
        "seed": card.seed,
        "common_noise": card.common_noise,
    }
    if card.model is None:
        couplings = [f"{key} {value}" for key, value in card.to_data()["action"].items() if value is not None]
        facts |= {"dtype": card.dtype, "action": ", ".join(couplings)}
    return facts


def own_measurements(plan: Plan) -> list[str]:
    """The names of the measurements that the user's own observables make while samples are drawn."""
    from trivmap.observables.measure import measuring

    return [each.stored for each, _ in measuring(plan.observables)]


def read_certificate(run: RunDirectory) -> dict[str, Any]:
    """The content of certificate.json; raises `InputError` if it is damaged or altered."""
    remedy = f"delete it and run trivmap sample {run.root}, which measures it again"
    shape: Shape = {"model": str, "asked": (int, NoneType), "steps": int, "passed": bool}
    return read_json(run.certificate_path, remedy, shape=shape)


@within_memory("measure.stages.proposals")
def measure(
    run: RunDirectory, progress: Progress | None = None, card: RunCard | None = None, *, plan: Plan | None = None
) -> dict[str, Any]:
    """Analyze the samples of a run: observables with errors, and the stages of its map; returns the summary.

    `card` may change the section `measure`; it becomes the run's card after the measurement succeeds. `plan` is the
    plan of the card, if the caller has one.
    """
    from trivmap.observables import CATALOG, along_the_map, analyze
    from trivmap.observables.integration_shift import pairs

    progress = progress or NoProgress()
    plan = plan or Plan(card or run.card())
    card = plan.card
    with run.locked(), SampleReader(run.root) as reader, Interruption.catching() as interruption:
        flow = None if card.model is None else load_flow(run, plan)
        levels = require_samples(run, plan, reader)
        for name in own_measurements(plan):
            if name not in reader.names:
                raise InputError(
                    f"measure.observables: {name} was not measured when the samples of {run.root} were drawn; name "
                    "it in the card of a new run"
                )
        summary = run.summary()
        with shown(progress, "measure", 1):
            results = analyze(
                reader,
                bins=card.measure.bins,
                symmetries=plan.action.symmetries,
                integration=pairs(levels),
                correct=card.sampling.kind == "flow",
                observables=plan.observables,
            )
            results = judged(results, summary, CATALOG.with_own(plan.observables).odd_under("z2"))
            write_sealed_text(run.observables_path, results.to_text())
            progress.update(1)
        interruption.check(f"interrupted between observables and stages; continue with trivmap measure {run.root}")
        if flow is not None:
            with shown(progress, "stages", 1):
                stages = along_the_map(
                    flow, plan.keys["stages"], action=plan.target, proposals=card.measure.stages.proposals
                )
                write_json(run.stages_path, finite(stages.to_dict()))
                progress.update(1)
        if card != run.card():
            run.write_card(card)
        return run.update_summary(**_facts(results, summary))


def require_samples(run: RunDirectory, plan: Plan, reader: SampleReader) -> "list[Level]":
    """The measurement of the integration error that belongs to the samples; empty if the density is exact.

    Raises `InputError` unless the samples are complete and belong to the plan and to the run's map.
    """
    model = None if plan.card.model is None else model_digest(run.model_path)
    reader.require(facts_of_samples(plan.card) | ({} if model is None else {"model": model}))
    if (run.summary().get("sampling") or {}).get("proposals") != reader.chains * reader.n:
        raise InputError(f"{run.root}: sampling is not finished; continue it with trivmap sample {run.root}")
    levels = [] if model is None else read_levels(run.integration_path, model)
    steps = reader.attrs.get("integration_steps")
    if steps is not None and (not levels or levels[0].steps != steps):
        raise InputError(
            f"{run.integration_path}: does not have the integration error of these samples; run trivmap sample "
            f"{run.root}, which measures it"
        )
    return levels


def is_measured(summary: Mapping[str, Any]) -> bool:
    """True if the samples of a run have been measured, whether or not any number was trusted."""
    return bool(summary.get("observables") or (summary.get("untrusted") or {}).keys() - set(OF_SAMPLES))


def _facts(results: "Results", summary: dict[str, Any]) -> dict[str, Any]:
    """The entries that measuring adds to the summary."""
    observables, untrusted = results.summary(), reasons_of_samples(summary) | results.untrusted
    instead = {name for name, entry in observables.items() if entry["source"] == "reweighted"}
    withheld = {untrusted.pop(name) for name in instead & untrusted.keys()}
    facts: dict[str, Any] = {
        "observables": observables,
        "untrusted": untrusted,
        "chain_withheld": "; ".join(sorted(withheld)) or None,
        "integration_shift": results.info["integration_shift"],
    }
    if summary.get("log_z") and (missing := results.info["missing_sector"]):
        untrusted["log_z"], facts["log_z"] = missing, None
    if summary.get("log_z") and (broken := results.info["broken_identity"]):
        untrusted |= dict.fromkeys(OF_WEIGHTS, broken)
        facts["log_z"] = None
    return facts
