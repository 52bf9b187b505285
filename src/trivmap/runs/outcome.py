"""The outcome of sampling, and the checks that decide whether to trust it.

Markov chains give their acceptance, their autocorrelation, and whether they agree. Independent proposals give the
acceptance and log Z, from their weights.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from trivmap.cards.kernels import KernelSampling
from trivmap.cards.sampling import FlowSampling
from trivmap.diagnostics import acceptance, effective_sample_size, log_z, tau_int_from_rejections
from trivmap.diagnostics.autocorrelation import autocorrelation_time
from trivmap.diagnostics.convergence import disagreement_reason
from trivmap.diagnostics.rounding import RoundingMeasurement
from trivmap.diagnostics.tails import tail_reason
from trivmap.flows import Flow, SteppedFlow
from trivmap.observables import order_parameter, r_hat_of
from trivmap.observables.trust import LEAST_EFFECTIVE_SAMPLES, judge_weights
from trivmap.runs.integration_check import IntegrationErrorCheck
from trivmap.runs.plan import Plan
from trivmap.runs.probe import Densities, examine
from trivmap.runs.verdicts import OF_WEIGHTS, integration_reason
from trivmap.samplers import IndependenceMetropolis, standstill
from trivmap.simulation import AbstractDriver, ProposalChains, State
from trivmap.store.samples import SampleReader
from trivmap.streams import proposal_key, proposal_keys

_ROUNDED = 256
"""The number of configurations whose rounding error is measured."""


class Outcome(NamedTuple):
    """The entries of the summary about the samples."""

    sampling: dict[str, Any]
    log_z: dict[str, Any] | None
    reasons: dict[str, str]
    """Reasons to distrust numbers, by the name of the number."""


def judge_chains(
    driver: AbstractDriver, certified: IntegrationErrorCheck | None, reader: SampleReader, state: State
) -> Outcome:
    """The outcome of the chains of a driver at `state`; `certified` is the flow that they run through, if any."""
    order = order_parameter(reader.names)
    tau_int, agreement = autocorrelation_time(np.abs(reader[order])), r_hat_of(reader)
    reason, noted = disagreement_reason(agreement, order), None if certified is None else certified.noted
    if "exp_minus_delta_h" in reader.names:
        reason = standstill(reader["accepted"], reader["exp_minus_delta_h"]) or reason
    sampling = {
        "acceptance": _acceptance(reader["accepted"]),
        "ess": None,
        "tau_int": tau_int._asdict(),
        "certificate": noted,
        "r_hat": agreement,
        "diagnostics": driver.diagnostics(state),
    }
    reasons = {} if reason is None else {"chains": reason}
    if certified is not None:
        certified.refine(reader.chains * reader.n, tau_int.value if np.isfinite(tau_int.value) else 0.5)
    if noted and not noted["passed"]:
        reasons |= dict.fromkeys(("acceptance", "tau_int"), integration_reason(noted))
    return Outcome(sampling, None, reasons)


def _acceptance(accepted: np.ndarray) -> dict[str, float]:
    """Fraction of accepted steps with the error of its mean, including autocorrelation."""
    if accepted.all():
        return {"value": 1.0, "error": 0.0}
    tau_int = autocorrelation_time(accepted.astype(np.float64)).value
    variance = float(np.var(accepted))
    return {
        "value": float(accepted.mean()),
        "error": float(np.sqrt(2 * max(tau_int, 0.5) * variance / accepted.size)),
    }


class ProposalJudge:
    """Judges the proposals of one kernel.

    Args:
        plan: the plan of the run.
        flow: the flow whose weights the proposals have, or start with, if it was not trained.
        certified: the trained flow of the kernel, if any.
        facts: further entries of the summary about the kernel.
    """

    def __init__(
        self,
        plan: Plan,
        flow: Flow | None = None,
        *,
        certified: IntegrationErrorCheck | None = None,
        facts: dict[str, Any] | None = None,
    ):
        self._keys, self._section, self._untrained = plan.keys, plan.card.sampling, flow
        self._target = plan.target if certified else plan.action
        self._certified, self._facts = certified, facts or {}
        self._densities = Densities(self._target)
        self._rounding_key = jax.random.fold_in(plan.keys["sample"], 2**32 - 1)
        self._driver: ProposalChains | None = None
        keys = jax.vmap(lambda i: proposal_keys(proposal_key(self._rounding_key, 0, i)).noise)(
            jnp.arange(_ROUNDED, dtype=jnp.uint32)
        )
        self._rounding = RoundingMeasurement(self._target, keys)

    def evaluate_by(self, driver: ProposalChains) -> None:
        """Take log-weights from the program of a driver of the flow's own proposals, which is compiled anyway."""
        self._driver = driver

    @property
    def _flow(self) -> Flow | SteppedFlow | None:
        """The flow whose weights the proposals have; a kernel of the user's own may use its flow in any way."""
        if isinstance(self._section, KernelSampling):
            return None
        return self._untrained if self._certified is None else self._certified.stepped

    @property
    def _of_the_flow(self) -> bool:
        """True if the proposals are those of the flow, with their weights."""
        return isinstance(self._section, FlowSampling)

    def begin(self) -> None:
        """Begin to compile the programs that the judgment needs."""
        if self._flow is not None:
            self._rounding.begin(self._flow, known=self._driver is not None)
            if self._of_the_flow:
                self._densities.begin(self._flow)

    def _known(self, flow: Flow | SteppedFlow) -> np.ndarray | None:
        """The log-weights whose rounding error is measured, if the driver's program gives them."""
        if self._driver is None or jnp.result_type(float) != jnp.float64:
            return None
        kernel, starts = IndependenceMetropolis(flow, self._target), range(0, _ROUNDED, self._driver.stride)
        batches = [self._driver.batch(kernel, self._rounding_key, start)[0].log_weight for start in starts]
        return np.concatenate([np.asarray(batch) for batch in batches])[:_ROUNDED]

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
        if self._flow is not None:
            rounding = self._rounding.measure(self._flow, self._known(self._flow))
            found["rounding"] = rounding._asdict()
            shifts.append(rounding.mean)
            if math.isnan(rounding.mean):
                reasons["log_z"] = (
                    "its rounding error is unknown without float64; set JAX's jax_enable_x64 before sampling"
                )
        if reason := tail_reason(weights.shape, weights.skewness, weights.proposals):
            reasons |= dict.fromkeys(OF_WEIGHTS, reason)
        # In this form the condition also holds for NaN.
        if not ess.value * measured.size >= LEAST_EFFECTIVE_SAMPLES:
            reasons |= dict.fromkeys(
                ("log_z", "ess"),
                f"the weights of all proposals amount to fewer than {LEAST_EFFECTIVE_SAMPLES} effective samples",
            )
        if isinstance(self._section, FlowSampling) and self._flow is not None and weights.burn_in is not None:
            key, probe = self._keys["probe"], self._section.probe
            findings = examine(self._flow, self._target, key, measured, probe=probe, densities=self._densities)
            found |= findings.facts
            if findings.sector:
                reasons = {"log_z": findings.sector, "sector": findings.sector} | reasons
            if findings.missed:
                reasons |= dict.fromkeys((*OF_WEIGHTS, "probe"), findings.missed)
        value, noted = estimate.value, None if self._certified is None else self._certified.noted
        found["log_z_shift"] = None
        if noted and not noted["passed"]:
            reasons |= dict.fromkeys(OF_WEIGHTS, integration_reason(noted))
        if moved is not None and self._of_the_flow:
            value += moved.value
            shifts.append(moved.error)
            if math.isnan(moved.value):
                reasons.setdefault(
                    "log_z", "the map's weights leave too few effective samples to correct it for integration"
                )
            found["log_z_shift"] = moved._asdict()
        elif noted:
            # Annealing changes the weights of the map, so the map's own shift only gives the size of the error.
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
