"""Markov chains as a source of samples: hybrid Monte Carlo, trivialised or not, and clusters."""

from collections.abc import Callable
from typing import Any

import numpy as np

from trivmap.cards.sampling import ChainSampling
from trivmap.diagnostics.autocorrelation import autocorrelation_time
from trivmap.diagnostics.convergence import complaint
from trivmap.observables import r_hat_of
from trivmap.runs.certified import Certified
from trivmap.runs.pipeline import integration_complaint
from trivmap.runs.sources import AbstractSource, State
from trivmap.samplers import standstill
from trivmap.simulation import AbstractChains
from trivmap.store.samples import SampleReader


class Chains(AbstractSource):
    """The chains of one driver. Warm-up steps are not stored."""

    history = "chain"

    def __init__(
        self,
        section: ChainSampling,
        driver: AbstractChains,
        *,
        certified: Certified | None = None,
    ):
        self._section, self._driver, self.certified = section, driver, certified
        self.stride = driver.stride
        # Nothing of the warm-up is stored; its length belongs to what identifies the samples.
        self.attributes = {"warmup": 0, "warmup_steps": section.warmup, **section.own_settings}
        if certified is not None:
            self.attributes |= certified.attributes
        self._state: State = {}

    def prepare(self, restored: State | None) -> None:
        self._state = dict(restored) if restored else self._driver.start()

    def part(self, start: int, stop: int, done: Callable[[int], None]) -> dict[str, Any]:
        section = self._section
        part, self._state = self._driver.part(self._state, start, stop, thin=section.thin, fields=section.save_fields)
        done((stop - start) * section.chains)
        return {
            "accepted": part.accepted,
            "observables": part.observables,
            "fields": part.fields,
            "state": dict(self._state),
        }

    def outcome(self, reader: SampleReader) -> tuple[dict[str, Any], dict[str, Any] | None, dict[str, str]]:
        tau_int, agreement = autocorrelation_time(np.abs(reader["magnetization"])), r_hat_of(reader)
        reason, noted = complaint(agreement), self.noted
        if "exp_minus_delta_h" in reader.names:
            reason = standstill(reader["accepted"], reader["exp_minus_delta_h"]) or reason
        sampling = {
            "acceptance": self._acceptance(reader["accepted"]),
            "ess": None,
            "tau_int": tau_int._asdict(),
            "certificate": noted,
            "r_hat": agreement,
            "diagnostics": self._driver.diagnostics(self._state),
        }
        reasons = {} if reason is None else {"chains": reason}
        if self.certified is not None:
            self.certified.refine(reader.chains * reader.n, tau_int.value if np.isfinite(tau_int.value) else 0.5)
        if noted and not noted["passed"]:
            reasons |= dict.fromkeys(("acceptance", "tau_int"), integration_complaint(noted))
        return sampling, None, reasons

    def _acceptance(self, accepted: np.ndarray) -> dict[str, float]:
        """Fraction of accepted steps with the error of its mean, correlations in time included."""
        if accepted.all():
            return {"value": 1.0, "error": 0.0}
        tau_int = autocorrelation_time(accepted.astype(np.float64)).value
        variance = float(np.var(accepted))
        return {
            "value": float(accepted.mean()),
            "error": float(np.sqrt(2 * max(tau_int, 0.5) * variance / accepted.size)),
        }
