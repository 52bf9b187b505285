"""The trained flow of a run as samplers may use it: integrated in as many steps as its error allows."""

from typing import Any

import jax

from trivmap.actions import AbstractAction
from trivmap.cards.card import RunCard
from trivmap.diagnostics import certificate
from trivmap.flows import Flow
from trivmap.runs.pipeline import keys, read_certificate
from trivmap.store.directory import RunDirectory, finite
from trivmap.store.files import write_json
from trivmap.store.plain import is_file
from trivmap.store.weights import model_digest


class Certified:
    """A flow with the integration steps that its certificate names, and the certificate, measured if need be."""

    def __init__(self, run: RunDirectory, flow: Flow, action: AbstractAction, card: RunCard, wanted: int | None):
        self._run, self.flow = run, flow
        self.noted: dict[str, Any] | None = None
        if flow.integration_steps is None:
            return
        model = model_digest(run.model_path)
        noted: dict[str, Any] = {}
        if is_file(run.certificate_path):
            noted = read_certificate(run)
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
