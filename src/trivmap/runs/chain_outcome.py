"""The outcome of Markov chains: their acceptance, their autocorrelation, and whether they agree."""

import numpy as np

from trivmap.diagnostics.autocorrelation import autocorrelation_time
from trivmap.diagnostics.convergence import disagreement_reason
from trivmap.observables import order_parameter, r_hat_of
from trivmap.runs.integration_check import IntegrationErrorCheck
from trivmap.runs.pipeline import integration_reason
from trivmap.runs.sampler import Outcome
from trivmap.samplers import standstill
from trivmap.simulation import AbstractDriver, State
from trivmap.store.samples import SampleReader


def judge_chains(
    driver: AbstractDriver, certified: IntegrationErrorCheck | None, reader: SampleReader, state: State
) -> Outcome:
    """The outcome of the chains of a driver that stands at `state`; `certified`: the flow they run through, if any."""
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
    """Fraction of accepted steps with the error of its mean, correlations in time included."""
    if accepted.all():
        return {"value": 1.0, "error": 0.0}
    tau_int = autocorrelation_time(accepted.astype(np.float64)).value
    variance = float(np.var(accepted))
    return {
        "value": float(accepted.mean()),
        "error": float(np.sqrt(2 * max(tau_int, 0.5) * variance / accepted.size)),
    }
