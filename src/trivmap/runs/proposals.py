"""Independent proposals as a source of samples: those of a map, and annealed ones."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from trivmap.actions import AbstractAction
from trivmap.cards.sampling import FlowSampling, ProposalSampling
from trivmap.devices import device_count
from trivmap.diagnostics import acceptance, effective_sample_size, log_z, tau_int_from_rejections
from trivmap.diagnostics.rounding import Rounding, measuring_rounding
from trivmap.diagnostics.tails import tail_reason
from trivmap.flows import Flow
from trivmap.observables.trust import LEAST_EFFECTIVE_SAMPLES, judge_weights
from trivmap.runs.certified import Certified
from trivmap.runs.pipeline import WEIGHED, integration_complaint
from trivmap.runs.plan import Plan
from trivmap.runs.probe import examine
from trivmap.runs.sources import AbstractSource, State
from trivmap.simulation import START, Chain, Simulation, default_batch
from trivmap.simulation.chains import Measure
from trivmap.store.samples import SampleReader


class Proposals(AbstractSource):
    """Chains of independence Metropolis over the proposals of one kernel."""

    history = "proposals"

    def __init__(
        self,
        plan: Plan,
        kernel: Any,
        action: AbstractAction,
        *,
        attributes: dict[str, Any],
        flow: Flow | None = None,
        facts: dict[str, Any] | None = None,
        certified: Certified | None = None,
        measure: Measure,
    ):
        section = plan.card.sampling
        assert isinstance(section, ProposalSampling)
        self._keys, self._section, self._action, self._flow = plan.keys, section, action, flow
        self.certified, self._facts = certified, facts or {}
        self.attributes = {"warmup": section.warmup, **attributes}
        self.stride = section.batch or default_batch(kernel.lattice.volume) * device_count()
        self._simulation = Simulation(kernel, self._keys["sample"], measure=measure, batch=self.stride)
        self._states: list[Chain] = []
        self._measure_rounding: Callable[[], Rounding] | None = None

    def prepare(self, restored: State | None) -> None:
        chains = self._section.chains
        self._states = [START] * chains
        if restored:
            fields = restored.get("fields", [None] * chains)
            self._states = [Chain(float(w), field) for w, field in zip(restored["log_weight"], fields, strict=True)]

    def part(self, start: int, stop: int, done: Callable[[int], None]) -> dict[str, Any]:
        parts, section = [], self._section
        # Both compiled beside each other, the longer one first.
        self._simulation.begin()
        self._begin_rounding()
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

    def _begin_rounding(self) -> None:
        if self._flow is not None and self._measure_rounding is None:
            key = jax.random.fold_in(self._keys["sample"], 2**32 - 1)
            self._measure_rounding = measuring_rounding(self._flow, self._action, key)

    def outcome(self, reader: SampleReader) -> tuple[dict[str, Any], dict[str, Any] | None, dict[str, str]]:
        log_weights = reader["log_weight"]
        measured, accepted = log_weights[:, reader.warmup :], reader["accepted"][:, reader.warmup :]
        weights = judge_weights(reader)
        moved = None
        if self.certified is not None:
            moved = self.certified.refine(accepted.size, 0.5 if weights.burn_in is None else weights.burn_in.tau_int)
        ess, estimate = effective_sample_size(measured), log_z(measured)
        reasons: dict[str, str] = {}
        shifts = [estimate.error]
        found: dict[str, Any] = {"pareto_shape": weights.shape, "skewness": weights.skewness}
        self._begin_rounding()
        if self._measure_rounding is not None:
            rounding = self._measure_rounding()
            found["rounding"] = rounding._asdict()
            shifts.append(rounding.mean)
            if math.isnan(rounding.mean):
                reasons["log_z"] = (
                    "its rounding error is unknown without float64; set JAX's jax_enable_x64 before sampling"
                )
        if reason := tail_reason(weights.shape, weights.skewness, weights.proposals):
            reasons |= dict.fromkeys(WEIGHED, reason)
        # Written so that a NaN is not trusted either.
        if not ess.value * measured.size >= LEAST_EFFECTIVE_SAMPLES:
            reasons |= dict.fromkeys(
                ("log_z", "ess"),
                f"the weights of all proposals amount to fewer than {LEAST_EFFECTIVE_SAMPLES} effective samples",
            )
        if isinstance(self._section, FlowSampling) and self._flow is not None and weights.burn_in is not None:
            findings = examine(self._flow, self._action, self._keys["probe"], measured, probe=self._section.probe)
            found |= findings.facts
            if findings.sector:
                reasons = {"log_z": findings.sector, "sector": findings.sector} | reasons
            if findings.missed:
                reasons |= dict.fromkeys((*WEIGHED, "probe"), findings.missed)
        value, noted = estimate.value, self.noted
        found["log_z_shift"] = None
        if noted and not noted["passed"]:
            reasons |= dict.fromkeys(WEIGHED, integration_complaint(noted))
        if moved is not None and isinstance(self._section, FlowSampling):
            value += moved.value
            shifts.append(moved.error)
            if math.isnan(moved.value):
                reasons.setdefault(
                    "log_z", "the map's weights leave too few effective samples to correct it for integration"
                )
            found["log_z_shift"] = moved._asdict()
        elif noted:
            # Annealing moves the weights of the map on, and the shift of the map's own is only the size of the error.
            shifts.append(math.nan if noted["mean"] is None else noted["mean"])
        sampling = {
            "acceptance": acceptance(measured)._asdict(),
            "accepted_fraction": float(accepted.mean()),
            "ess": ess.value,
            "ess_error": ess.error,
            "tau_int": tau_int_from_rejections(accepted)._asdict(),
            **found,
            "certificate": noted,
            "invalid_weights": int(np.sum(np.isnan(log_weights) | (log_weights == np.inf))),
            **self._facts,
        }
        return sampling, {"value": value, "error": float(np.linalg.norm(shifts))}, reasons
