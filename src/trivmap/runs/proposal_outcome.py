"""What a run says of independent proposals, from their weights: acceptance, log Z, and whether to trust them."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from trivmap.actions import AbstractAction
from trivmap.cards.sampling import FlowSampling
from trivmap.diagnostics import acceptance, effective_sample_size, log_z, tau_int_from_rejections
from trivmap.diagnostics.rounding import Rounding, measuring_rounding
from trivmap.diagnostics.tails import tail_reason
from trivmap.flows import Flow
from trivmap.observables.trust import LEAST_EFFECTIVE_SAMPLES, judge_weights
from trivmap.runs.certified import Certified
from trivmap.runs.pipeline import WEIGHED, integration_complaint
from trivmap.runs.plan import Plan
from trivmap.runs.probe import examine
from trivmap.runs.sampler import Outcome
from trivmap.simulation import State
from trivmap.store.samples import SampleReader


class ProposalJudge:
    """Judges the proposals of one kernel.

    Args:
        plan: the plan of the run.
        flow: the flow whose weights they have, or start with; None where there is none.
        target: the action that the flow is compared with.
        certified: the same flow with its certificate, where it was trained.
        facts: what the summary says of the kernel besides.
    """

    def __init__(
        self,
        plan: Plan,
        flow: Flow | None = None,
        target: AbstractAction | None = None,
        *,
        certified: Certified | None = None,
        facts: dict[str, Any] | None = None,
    ):
        self._keys, self._section, self._flow = plan.keys, plan.card.sampling, flow
        self._action = target or plan.target
        self._certified, self._facts = certified, facts or {}
        self._measure_rounding: Callable[[], Rounding] | None = None

    def begin(self) -> None:
        """Begin to compile what the judgment needs."""
        if self._flow is not None and self._measure_rounding is None:
            key = jax.random.fold_in(self._keys["sample"], 2**32 - 1)
            self._measure_rounding = measuring_rounding(self._flow, self._action, key)

    def __call__(self, reader: SampleReader, state: State) -> Outcome:
        log_weights = reader["log_weight"]
        measured, accepted = log_weights[:, reader.warmup :], reader["accepted"][:, reader.warmup :]
        weights = judge_weights(reader)
        moved = None
        if self._certified is not None:
            moved = self._certified.refine(accepted.size, 0.5 if weights.burn_in is None else weights.burn_in.tau_int)
        ess, estimate = effective_sample_size(measured), log_z(measured)
        reasons: dict[str, str] = {}
        shifts = [estimate.error]
        found: dict[str, Any] = {"pareto_shape": weights.shape, "skewness": weights.skewness}
        self.begin()
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
        value, noted = estimate.value, None if self._certified is None else self._certified.noted
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
        return Outcome(sampling, {"value": value, "error": float(np.linalg.norm(shifts))}, reasons)
