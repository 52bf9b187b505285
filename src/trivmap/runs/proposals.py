"""Independent proposals as a source of samples: those of a map, and annealed ones."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from trivmap.actions import AbstractAction
from trivmap.flows import Flow
from trivmap.runs.card import RunCard
from trivmap.runs.card_sampling import ProposalSampling
from trivmap.runs.directory import RunDirectory, finite
from trivmap.runs.files import read_json, write_json
from trivmap.runs.model import model_digest
from trivmap.runs.pipeline import integration_complaint, keys
from trivmap.runs.samples import SampleReader
from trivmap.runs.sources import AbstractSource, State
from trivmap.samplers import acceptance, certificate, effective_sample_size, log_z, tau_int_from_rejections
from trivmap.samplers.rounding import rounding_of_log_weights
from trivmap.simulation import START, Chain, Simulation, default_batch
from trivmap.simulation.chains import Measure

WEIGHED = ("log_z", "acceptance", "ess", "tau_int")
"""What a certificate that failed leaves without trust."""
LEAST_EFFECTIVE_SAMPLES = 100
"""Below this many, weights say nothing trustworthy about log Z."""


class Proposals(AbstractSource):
    """Chains of independence Metropolis over the proposals of one kernel."""

    history = "proposals"

    def __init__(
        self,
        card: RunCard,
        kernel: Any,
        action: AbstractAction,
        *,
        attributes: dict[str, Any],
        flow: Flow | None = None,
        facts: dict[str, Any] | None = None,
        certified: "Certified | None" = None,
        measure: Measure | None = None,
    ):
        from trivmap.observables import measure as measure_all

        assert isinstance(card.sampling, ProposalSampling)
        self._card, self._section, self._action, self._flow = card, card.sampling, action, flow
        self._certified, self._facts = certified, facts or {}
        self.attributes = {"warmup": card.sampling.warmup, **attributes}
        self.stride = card.sampling.batch or default_batch(kernel.lattice.volume)
        measure = measure or partial(measure_all, action)
        self._simulation = Simulation(kernel, keys(card)["sample"], measure=measure, batch=self.stride)
        self._states: list[Chain] = []

    def prepare(self, restored: State | None) -> None:
        chains = self._section.chains
        self._states = [START] * chains
        if restored:
            fields = restored.get("fields", [None] * chains)
            self._states = [Chain(float(w), field) for w, field in zip(restored["log_weight"], fields, strict=True)]

    def keep(self) -> None:
        if self._certified is not None:
            self._certified.keep()

    def part(self, start: int, stop: int, done: Callable[[int], None]) -> dict[str, Any]:
        parts, section = [], self._section
        for chain in range(section.chains):
            part, self._states[chain] = self._simulation.part(
                chain, start, stop, self._states[chain], thin=section.thin, fields=section.save_fields
            )
            parts.append(part)
            done((stop - start) * (chain + 1))
        fields = [part.fields for part in parts if part.fields is not None]
        present = [state.field for state in self._states if state.field is not None]
        return {
            "accepted": np.stack([part.accepted for part in parts]),
            "log_weight": np.stack([part.log_weight for part in parts]),
            "observables": {
                name: np.stack([part.observables[name] for part in parts]) for name in parts[0].observables
            },
            "fields": np.stack(fields) if fields else None,
            "state": {"log_weight": np.array([state.log_weight for state in self._states])}
            | ({"fields": np.stack(present)} if len(present) == len(parts) else {}),
        }

    def outcome(self, reader: SampleReader) -> tuple[dict[str, Any], dict[str, Any] | None, dict[str, str]]:
        stored = {
            name: np.stack([reader.read(name, chain, 0, reader.n) for chain in range(reader.chains)])
            for name in ("log_weight", "accepted")
        }
        measured = stored["accepted"][:, reader.warmup :]
        log_weights = stored["log_weight"]
        ess, estimate = effective_sample_size(log_weights), log_z(log_weights)
        reasons: dict[str, str] = {}
        shifts = [estimate.error]
        found: dict[str, Any] = {}
        if self._flow is not None:
            key = jax.random.fold_in(keys(self._card)["sample"], 2**32 - 1)
            rounding = rounding_of_log_weights(self._flow, self._action, key)
            found["rounding"] = rounding._asdict()
            shifts.append(rounding.mean)
            if math.isnan(rounding.mean):
                reasons["log_z"] = (
                    "its rounding error is unknown without float64; set JAX's jax_enable_x64 before sampling"
                )
        noted = self._certified.noted if self._certified is not None else None
        if noted:
            shifts.append(noted["mean"])
            if not noted["passed"]:
                reasons |= dict.fromkeys(WEIGHED, integration_complaint(noted))
        # Written so that a NaN is not trusted either.
        if not ess.value * log_weights.size >= LEAST_EFFECTIVE_SAMPLES:
            reasons["log_z"] = (
                f"the weights of all proposals amount to fewer than {LEAST_EFFECTIVE_SAMPLES} effective samples"
            )
        sampling = {
            "acceptance": acceptance(log_weights)._asdict(),
            "accepted_fraction": float(measured.mean()),
            "ess": ess.value,
            "ess_error": ess.error,
            "tau_int": tau_int_from_rejections(measured)._asdict(),
            **found,
            "certificate": noted,
            "invalid_weights": int(np.sum(np.isnan(log_weights) | (log_weights == np.inf))),
            **self._facts,
        }
        return sampling, {"value": estimate.value, "error": float(np.linalg.norm(shifts))}, reasons


class Certified:
    """A flow with the integration steps that its certificate names, and the certificate, measured if need be."""

    def __init__(self, run: RunDirectory, flow: Flow, action: AbstractAction, card: RunCard, wanted: int | None):
        self._run, self.flow = run, flow
        self.noted: dict[str, Any] | None = None
        if flow.integration_steps is None:
            return
        model = model_digest(run.model_path)
        noted: dict[str, Any] = {}
        if run.certificate_path.exists():
            noted = read_json(run.certificate_path, "delete it to have it measured again")
        if noted.get("model") != model or noted.get("asked") != wanted:
            key = jax.random.fold_in(keys(card)["sample"], 2**32 - 2)
            found = certificate(flow, action, key, steps=wanted)
            assert found is not None
            noted = finite({**found._asdict(), "passed": found.passed, "asked": wanted, "model": model})
        self.noted, self.flow = noted, flow.with_integration_steps(noted["steps"])

    @property
    def attributes(self) -> dict[str, Any]:
        steps = self.flow.integration_steps
        return {"model": model_digest(self._run.model_path), **({} if steps is None else {"integration_steps": steps})}

    def keep(self) -> None:
        """Write the certificate, once the samples of other steps have not been refused."""
        if self.noted is not None:
            write_json(self._run.certificate_path, self.noted)
