"""The sampling step of a run: chains continued part by part until the card's proposals are stored."""

import math
import time
from functools import partial
from typing import Any

import jax
import numpy as np

from trivmap.actions import AbstractAction
from trivmap.flows import Flow
from trivmap.runs.card import RunCard
from trivmap.runs.directory import RunDirectory, finite
from trivmap.runs.environment import package_version
from trivmap.runs.files import read_json, write_json
from trivmap.runs.model import model_digest
from trivmap.runs.pipeline import OF_SAMPLES, integration_complaint, keys, load_flow
from trivmap.runs.progress import Interruption, Progress, Quiet, shown
from trivmap.runs.samples import SampleReader, SampleWriter
from trivmap.samplers import (
    IndependenceMetropolis,
    acceptance,
    certificate,
    effective_sample_size,
    log_z,
    tau_int_from_rejections,
)
from trivmap.samplers.rounding import rounding_of_log_weights
from trivmap.simulation import START, Chain, Part, Simulation, default_batch

LEAST_EFFECTIVE_SAMPLES = 100
"""Below this many, weights say nothing trustworthy about log Z."""


def sample(run: RunDirectory, progress: Progress | None = None, card: RunCard | None = None) -> dict[str, Any]:
    """Draw the proposals that the card asks for and that are not stored yet; returns the summary.

    The stored proposals do not depend on interruptions, nor on batch or part sizes up to rounding. `card` may change
    the section `sampling`; it becomes the run's once it is found to agree with what is stored.
    """
    progress = progress or Quiet()
    flow, action, present = load_flow(run)
    card = card or present
    section = card.sampling
    with run.locked(), Interruption.catching() as interruption:
        started = time.monotonic()
        flow, noted = _certified(run, flow, action, card)
        drawn_before = run.summary().get("sampling")
        writer = SampleWriter(run.root, _attributes(run, card, flow.integration_steps))
        if noted is not None:
            # Only now: samples of other steps have not been refused.
            write_json(run.certificate_path, noted)
        if card != present:
            run.write_card(card)
        seconds = float(writer.state.get("seconds", 0.0))
        states = _stored_states(writer, section.chains)
        simulation = _simulation(flow, action, card)
        each = section.proposals // section.chains
        length = section.part or _part_length(flow.lattice.volume, section.chains, section.save_fields)
        with shown(progress, "sample", section.proposals, writer.completed * section.chains):
            for start in range(writer.completed, each, length):
                stop, parts = min(start + length, each), []
                for chain in range(section.chains):
                    interruption.check(
                        f"interrupted after {start} of {each} proposals per chain; go on with trivmap sample {run.root}"
                    )
                    part, states[chain] = simulation.part(
                        chain, start, stop, states[chain], thin=section.thin, fields=section.save_fields
                    )
                    parts.append(part)
                    progress.update(start * section.chains + (stop - start) * (chain + 1))
                _store(writer, parts, states, seconds + time.monotonic() - started)
        outcome = _summary(run, flow, action, card, seconds + time.monotonic() - started)
        if not drawn_before or drawn_before["proposals"] != outcome["sampling"]["proposals"]:
            # What was measured on fewer proposals does not describe these.
            of_samples = {name: text for name, text in outcome["untrusted"].items() if name in OF_SAMPLES}
            outcome |= {"observables": {}, "untrusted": of_samples}
        summary = run.update_summary(**outcome)
        interruption.check(f"interrupted after the last proposal; go on with trivmap measure {run.root}")
        return summary


def _certified(
    run: RunDirectory, flow: Flow, action: AbstractAction, card: RunCard
) -> tuple[Flow, dict[str, Any] | None]:
    """The flow with the integration steps that its certificate names, and the certificate, measured if need be."""
    if flow.integration_steps is None:
        return flow, None
    wanted, model = card.sampling.integration_steps, model_digest(run.model_path)
    noted: dict[str, Any] = {}
    if run.certificate_path.exists():
        noted = read_json(run.certificate_path, "delete it to have it measured again")
    if noted.get("model") != model or noted.get("asked") != wanted:
        key = jax.random.fold_in(keys(card)["sample"], 2**32 - 2)
        found = certificate(flow, action, key, steps=wanted)
        assert found is not None
        noted = finite({**found._asdict(), "passed": found.passed, "asked": wanted, "model": model})
    return flow.with_integration_steps(noted["steps"]), noted


def _attributes(run: RunDirectory, card: RunCard, steps: int | None) -> dict[str, Any]:
    """What identifies the samples: a resumed run must agree in all of it."""
    section = card.sampling
    return {
        "kind": section.kind,
        "history": "proposals",
        "chains": section.chains,
        "proposals": section.proposals,
        "warmup": section.warmup,
        "thin": section.thin,
        "save_fields": section.save_fields,
        "lattice": list(card.lattice),
        "seed": card.seed,
        "model": model_digest(run.model_path),
        **({} if steps is None else {"integration_steps": steps}),
        "trivmap": package_version("trivmap"),
    }


def _simulation(flow: Flow, action: AbstractAction, card: RunCard) -> Simulation:
    from trivmap.observables import measure

    batch = card.sampling.batch or default_batch(flow.lattice.volume)
    kernel = IndependenceMetropolis(flow, action)
    return Simulation(kernel, keys(card)["sample"], measure=partial(measure, action), batch=batch)


def _stored_states(writer: SampleWriter, chains: int) -> list[Chain]:
    """Where the chains stand after the stored parts."""
    stored = writer.state
    if not stored:
        return [START] * chains
    fields = stored.get("fields", [None] * chains)
    return [Chain(float(w), field) for w, field in zip(stored["log_weight"], fields, strict=True)]


def _store(writer: SampleWriter, parts: list[Part], states: list[Chain], seconds: float) -> None:
    fields = [part.fields for part in parts if part.fields is not None]
    present = [state.field for state in states if state.field is not None]
    writer.append(
        accepted=np.stack([part.accepted for part in parts]),
        log_weight=np.stack([part.log_weight for part in parts]),
        observables={name: np.stack([part.observables[name] for part in parts]) for name in parts[0].observables},
        fields=np.stack(fields) if fields else None,
        state={"log_weight": np.array([state.log_weight for state in states]), "seconds": seconds}
        | ({"fields": np.stack(present)} if len(present) == len(parts) else {}),
    )


def _part_length(volume: int, chains: int, fields: bool) -> int:
    """Proposals per chain in one part: about 64 MB in all, and no more than a kill may cost."""
    bytes_each = 8 * (20 + volume // 4) + (8 * volume if fields else 0)
    return int(np.clip(2**26 // (bytes_each * chains), 256, 25_000))


def _summary(run: RunDirectory, flow: Flow, action: AbstractAction, card: RunCard, seconds: float) -> dict[str, Any]:
    with SampleReader(run.root) as reader:
        stored = {
            name: np.stack([reader.read(name, chain, 0, reader.n) for chain in range(reader.chains)])
            for name in ("log_weight", "accepted")
        }
        measured = stored["accepted"][:, reader.warmup :]
    log_weights = stored["log_weight"]
    ess, estimate = effective_sample_size(log_weights), log_z(log_weights)
    rounding = rounding_of_log_weights(flow, action, jax.random.fold_in(keys(card)["sample"], 2**32 - 1))
    noted = read_json(run.certificate_path, "run trivmap sample again") if flow.integration_steps is not None else None
    untrusted = {name: text for name, text in (run.summary().get("untrusted") or {}).items() if name not in OF_SAMPLES}
    if math.isnan(rounding.mean):
        untrusted["log_z"] = "its rounding error is unknown without float64; set JAX's jax_enable_x64 before sampling"
    if noted and not noted["passed"]:
        untrusted |= dict.fromkeys(OF_SAMPLES, integration_complaint(noted))
    # Written so that a NaN is not trusted either.
    if not ess.value * log_weights.size >= LEAST_EFFECTIVE_SAMPLES:
        untrusted["log_z"] = (
            f"the weights of all proposals amount to fewer than {LEAST_EFFECTIVE_SAMPLES} effective samples"
        )
    return finite(
        {
            "sampling": {
                "kind": card.sampling.kind,
                "chains": card.sampling.chains,
                "proposals": log_weights.size,
                "acceptance": acceptance(log_weights)._asdict(),
                "accepted_fraction": float(measured.mean()),
                "ess": ess.value,
                "ess_error": ess.error,
                "tau_int": tau_int_from_rejections(measured)._asdict(),
                "rounding": rounding._asdict(),
                "certificate": noted,
                "invalid_weights": int(np.sum(np.isnan(log_weights) | (log_weights == np.inf))),
                "wall_seconds": seconds,
            },
            "log_z": None
            if "log_z" in untrusted
            else {
                "value": estimate.value,
                "error": float(np.linalg.norm([estimate.error, rounding.mean, noted["mean"] if noted else 0.0])),
            },
            "untrusted": untrusted,
        }
    )
