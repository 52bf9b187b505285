"""The trained flow of a run for samplers, integrated in the fewest steps that its error allows."""

from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import Array

from trivmap.diagnostics import certificate
from trivmap.diagnostics.integration_error import BATCH, Levels
from trivmap.estimate import Estimate
from trivmap.flows import Flow, SteppedFlow
from trivmap.runs.pipeline import read_certificate
from trivmap.runs.plan import Plan
from trivmap.samplers import IndependenceMetropolis
from trivmap.simulation import Measure, ProposalChains
from trivmap.store.directory import RunDirectory, finite
from trivmap.store.files import write_json
from trivmap.store.levels import read_levels, write_levels
from trivmap.store.plain import is_file
from trivmap.store.weights import model_digest

_LARGEST_REMAINDER = 0.2
"""Integration error, in units of the statistical error, above which a pair with twice the steps is measured as well."""
_MOST_PAIRS = 3
_SHARE_OF_SAMPLES = 1 / 15
"""Most pairs per sample: at this number, n and 2n steps for each pair cost a fifth of the samples."""


class IntegrationErrorCheck:
    """The trained flow of a run with the integration steps that its certificate names.

    `settle` measures the certificate, unless it is known. Only then does `flow` have these steps. `stepped` has them
    too, as a runtime argument of programs, which can therefore be compiled before the number is known.

    Args:
        run: the run, whose certificate may be on disk.
        flow: its flow.
        plan: its plan.
        wanted: steps that the card asks for; None for the fewest that pass.
        measure: observables of one configuration, for the effect of integration on them.
    """

    def __init__(
        self,
        run: RunDirectory,
        flow: Flow,
        plan: Plan,
        wanted: int | None,
        measure: Measure,
    ):
        self._run, self.flow, self._model = run, flow, model_digest(run.model_path)
        self._plan, self._wanted = plan, wanted
        self.noted: dict[str, Any] | None = None
        self.stepped: Flow | SteppedFlow = flow
        if flow.integration_steps is None:
            return
        self._key = jax.random.fold_in(plan.keys["sample"], 2**32 - 2)
        self._levels = Levels(flow, plan.target, self._key, measure)
        self.stepped = SteppedFlow(flow, 1)
        noted = read_certificate(run) if is_file(run.certificate_path) else {}
        if noted.get("model") == self._model and noted.get("asked") == wanted:
            self._note(noted)

    def evaluate_by(self, driver: ProposalChains) -> None:
        """Compare numbers of steps with the program of a driver of the flow's proposals, which is compiled anyway."""
        if self.flow.integration_steps is None:
            return

        def batch(steps: int, first: int) -> tuple[Array, Mapping[str, Array]]:
            kernel = IndependenceMetropolis(SteppedFlow(self.flow, steps), self._plan.target)
            proposals, measured = driver.batch(kernel, self._key, first)
            return proposals.log_weight, measured

        self._levels = Levels(self.flow, self._plan.target, self._key, batch=batch, size=driver.stride)

    def settle(self) -> "IntegrationErrorCheck":
        """Measure the certificate, unless it is known."""
        if self.flow.integration_steps is not None and self.noted is None:
            found = certificate(self.flow, self._plan.target, self._key, steps=self._wanted, levels=self._levels)
            assert found is not None
            facts = {"passed": found.passed, "asked": self._wanted, "model": self._model}
            self._note(finite({**found._asdict(), **facts}))
        return self

    def _note(self, noted: dict[str, Any]) -> None:
        self.noted, steps = noted, noted["steps"]
        self.flow = self.flow.with_integration_steps(steps)
        self.stepped = SteppedFlow(self.flow, steps)

    @property
    def attributes(self) -> dict[str, Any]:
        steps = self.flow.integration_steps
        return {"model": self._model, **({} if steps is None else {"integration_steps": steps})}

    def keep(self) -> None:
        """Write the certificate, after the check that stored samples have the same steps."""
        if self.noted is not None:
            write_json(self._run.certificate_path, self.noted)

    def refine(self, samples: int, tau_int: float) -> Estimate | None:
        """Measure the effect of integration on observables, to the precision that averages over so many samples need.

        Returns the shift of log Z, None for a flow that is exact.

        The levels have n, 2n, 4n, ... steps, where n is the number of steps of the samples. Each pair uses as many
        configurations as its shift needs, and pairs are added until the remainder is negligible.
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
