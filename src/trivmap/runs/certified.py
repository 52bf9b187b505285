"""The trained flow of a run as samplers may use it: integrated in as many steps as its error allows."""

from typing import Any

import jax

from trivmap.diagnostics import certificate
from trivmap.diagnostics.integration_error import BATCH, Levels
from trivmap.estimate import Estimate
from trivmap.flows import Flow
from trivmap.runs.pipeline import read_certificate
from trivmap.runs.plan import Plan
from trivmap.simulation import Measure
from trivmap.store.directory import RunDirectory, finite
from trivmap.store.files import write_json
from trivmap.store.levels import read_levels, write_levels
from trivmap.store.plain import is_file
from trivmap.store.weights import model_digest

_LARGEST_REMAINDER = 0.2
"""Integration error, in units of the statistical error, beyond which a pair of twice the steps is measured as well."""
_MOST_PAIRS = 3
_SHARE_OF_SAMPLES = 1 / 15
"""Pairs per sample, at most: n and 2n steps of each cost a fifth of the samples then."""


class Certified:
    """A flow with the integration steps that its certificate names, and the certificate, measured if need be."""

    def __init__(
        self,
        run: RunDirectory,
        flow: Flow,
        plan: Plan,
        wanted: int | None,
        measure: Measure,
    ):
        self._run, self.flow, self._model = run, flow, model_digest(run.model_path)
        self.noted: dict[str, Any] | None = None
        if flow.integration_steps is None:
            return
        noted: dict[str, Any] = {}
        if is_file(run.certificate_path):
            noted = read_certificate(run)
        key = jax.random.fold_in(plan.keys["sample"], 2**32 - 2)
        self._levels = Levels(flow, plan.target, key, measure)
        if noted.get("model") != self._model or noted.get("asked") != wanted:
            found = certificate(flow, plan.target, key, steps=wanted, levels=self._levels)
            assert found is not None
            noted = finite({**found._asdict(), "passed": found.passed, "asked": wanted, "model": self._model})
        self.noted, self.flow = noted, flow.with_integration_steps(noted["steps"])

    @property
    def attributes(self) -> dict[str, Any]:
        steps = self.flow.integration_steps
        return {"model": self._model, **({} if steps is None else {"integration_steps": steps})}

    def keep(self) -> None:
        """Write the certificate, once the samples of other steps have not been refused."""
        if self.noted is not None:
            write_json(self._run.certificate_path, self.noted)

    def refine(self, samples: int, tau_int: float) -> Estimate | None:
        """Measure what integration does to observables, as well as averages over so many samples need it.

        Returns the shift of log Z, None for a flow that is exact.

        Levels of n, 2n, 4n, ... steps, n those of the samples: each pair over as many configurations as its shift
        needs, and as many pairs as it takes to leave nothing that matters.
        """
        from trivmap.observables.integration_shift import Pair, log_z_shift, pairs, sufficiency

        if self.noted is None:
            return None
        independent = max(1.0, samples / max(1.0, 2 * tau_int))
        most = max(BATCH, int(samples * _SHARE_OF_SAMPLES) // BATCH * BATCH)
        steps, counts = self.noted["steps"], []
        for number in range(_MOST_PAIRS):
            count, coarse = BATCH, steps * 2**number
            while True:
                verdict = sufficiency(Pair(*(self._levels.at(n, count) for n in (coarse, 2 * coarse))), independent)
                wanted = min(most, -(-verdict.configurations // BATCH) * BATCH)
                if wanted <= count:
                    break
                count = min(wanted, 4 * count)
            counts.append(count)
            if not verdict.remainder > _LARGEST_REMAINDER:
                break
        levels = [
            self._levels.at(steps * 2**number, max(counts[max(0, number - 1) : number + 1]))
            for number in range(len(counts) + 1)
        ]
        stored = read_levels(self._run.integration_path, self._model)
        sizes = [[(each.steps, len(each.log_weight)) for each in found] for found in (stored, levels)]
        if sizes[0] != sizes[1]:
            write_levels(self._run.integration_path, levels, self._model)
        return log_z_shift(pairs(levels))
