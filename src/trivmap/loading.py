"""A run's content as objects, for notebooks and scripts."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from trivmap._types import Key
from trivmap.actions import AbstractAction
from trivmap.cards.build import build_action
from trivmap.cards.card import RunCard
from trivmap.cards.overrides import Change
from trivmap.cards.own import require_trust
from trivmap.errors import InputError
from trivmap.estimate import Estimate
from trivmap.flows import Flow
from trivmap.runs.pipeline import load_flow, require_samples
from trivmap.runs.plan import Plan
from trivmap.runs.verdicts import judged
from trivmap.store.directory import RunDirectory
from trivmap.store.plain import is_file
from trivmap.store.samples import SampleReader
from trivmap.store.weights import require_precision
from trivmap.trust import trusting

if TYPE_CHECKING:
    from trivmap.observables import FlowStages, Results
    from trivmap.reports.plots import Plots
    from trivmap.runs.export import Exported
    from trivmap.runs.proposing import Configurations


class Run:
    """The content of a run directory, read when it is asked for; each part raises `InputError` where the run lacks it.

    `flow` and `action` act on one configuration each. `results["susceptibility"]` is a pyerrors object,
    `results.to_xarray()` a dataset of everything with errors; `samples` reads samples.h5 piece by piece.
    `trust`: run code that the card names (`my_module:MyClass`) and use files that were altered after they were
    written; both are refused otherwise.
    """

    def __init__(self, directory: RunDirectory, *, trust: bool = False):
        self.directory, self._trust = directory, trust

    @property
    def card(self) -> RunCard:
        return self.directory.card()

    @property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json."""
        with trusting(self._trust):
            return self.directory.summary()

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl."""
        with trusting(self._trust):
            return self.directory.metrics()

    @cached_property
    def _plan(self) -> Plan:
        return Plan(self.card)

    @contextmanager
    def _own_code(self) -> Iterator[None]:
        """While the block runs, code that the card names may be used; raises `InputError` if it is not trusted."""
        with trusting(self._trust):
            require_trust(self.directory.root, self._plan.card)
            yield

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """While the block runs, JAX computes as `trivmap run` does, whatever the session says: with float64."""
        with self._own_code(), jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
            yield

    @cached_property
    def _flow(self) -> Flow:
        with self._computing():
            return load_flow(self.directory, self._plan)

    @property
    def flow(self) -> Flow:
        """The trained flow; of the even sites alone if the card says `sites: even`, see `sample`.

        Raises `InputError` for a flow of float64 in a session without it: the session would make it float32.
        """
        require_precision(self.card, self.directory.model_path)
        return self._flow

    @property
    def action(self) -> AbstractAction:
        """The action that the flow is compared with; `sample_conditional` draws the sites that the flow leaves out."""
        with self._own_code():
            return self._plan.target

    def sample(self, key: Key, n: int) -> "Configurations":
        """`n` independent whole configurations of the trained map with their log-weights.

        Odd sites that the map leaves out are drawn from their density given the even ones. Means in the density exp(-S)
        are sum(w O) / sum(w); the first configurations are the same for every n. Raises `InputError` for n below 1,
        and for a continuous map whose integration error is not measured or too large.
        """
        from trivmap.runs.proposing import draw

        with self._computing():
            return draw(self.directory, self._plan, key, n)

    def export(self, path: str | os.PathLike[str], fields: int) -> "Exported":
        """Write the first proposals of this run, drawn again, with their log-weights; see `runs.export.export`.

        >>> run.export("proposals.h5", 10_000)
        """
        from trivmap.runs.export import export

        with self._computing():
            return export(self.directory, Path(path), fields, plan=self._plan)

    def export_program(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Write the map as a program of plain arrays, which JAX runs without trivmap; see `runs.program`."""
        from trivmap.runs.program import export_program

        with self._computing():
            return export_program(self.directory, Path(path), plan=self._plan)

    def measure(self, fields: Any) -> "Results":
        """The observables of an ensemble of exp(-S)/Z of your own, by the analysis of this run; nothing is written.

        >>> run.measure(np.load("hmc.npy"))["susceptibility"]
        >>> run.measure("runs/hmc")["susceptibility"]

        Args:
            fields: configurations in the order of the chain, shape (n, ...), or (chains, n, ...) of several chains; or
                the name of such an array, `FILE` or `FILE:/DATASET`; or the directory of a run that has stored its
                fields.

        Raises:
            InputError: for another shape, and numbers that are not real or not finite.
        """
        from trivmap.runs.given import measured

        with self._computing(), self._ensemble(fields) as (array, name):
            return measured(self._plan, array, name)

    def forward_ess(self, fields: Any) -> Estimate:
        """The effective sample size of the map from configurations of exp(-S)/Z, 1 / (E[w] E[1/w]), with its error.

        It sees modes that the map misses. The error contains the autocorrelation of log w. Arguments and errors are
        those of `measure`; a continuous map whose integration error is not measured or too large is refused.
        """
        from trivmap.runs.given import judged

        with self._computing(), self._ensemble(fields) as (array, name):
            return judged(self.directory, self._plan, array, name).forward_ess

    @contextmanager
    def _ensemble(self, fields: Any) -> Iterator[tuple[Any, str]]:
        """An array of configurations, and what sentences call it."""
        from trivmap.runs.ensemble import ensemble

        if isinstance(fields, str | os.PathLike):
            with ensemble(os.fspath(fields), self._plan, self.directory) as given:
                yield given, given.name
        else:
            yield fields, "fields"

    def reweight(self, **couplings: float) -> "Results":
        """The observables at other couplings, from the proposals of this run; see `runs.reweighting.reweight`.

        >>> run.reweight(beta=0.58)["susceptibility"]

        Couplings that are not named keep their values. What sampling found against the run holds there too. Where the
        couplings are too far away, the weights do not permit errors and the observables are withheld, each with the
        reason. Raises `InputError` for a run that is not by independent proposals of a map or not complete, and an
        action without coefficients.
        """
        from trivmap.observables import CATALOG
        from trivmap.runs.reweighting import reweight

        if self.card.sampling.kind != "flow":
            raise InputError(
                f"reweight: needs proposals of a map, and this run was sampled by {self.card.sampling.kind}"
            )
        with self._computing(), self.samples as reader:
            levels = require_samples(self.directory, self._plan, reader)
            bins = self.card.measure.bins
            there = reweight(reader, levels, self._plan.action, self._at(couplings), self._plan.lattice, bins=bins)
            return judged(there, self.summary, CATALOG.odd_under("z2"))

    def derivative(self, coupling: str) -> Any:
        """d log Z / d coupling = -<dS / d coupling> of this run, an object with its error.

        Raises `InputError` for an unknown coupling, and an action without coefficients.
        """
        from trivmap.runs.reweighting import derivative, difference

        value = self.card.to_data()["action"].get(coupling)
        if not isinstance(value, float | int):
            raise InputError(f"derivative: {coupling!r} is no coupling of this action")
        # Of second order, and from above alone: below a coupling of zero there may be no integral.
        step = 2.0**-20
        action, lattice = self._plan.action, self._plan.lattice
        one, two = (difference(action, self._at({coupling: value + n * step}), lattice) for n in (1, 2))
        return derivative(self.results, {name: (4 * one[name] - two[name]) / (2 * step) for name in one})

    def _at(self, couplings: Mapping[str, float]) -> AbstractAction:
        """The action of this run at other couplings."""
        changes = [Change(("action", name), value) for name, value in couplings.items()]
        with self._own_code():
            return build_action(self.card.with_overrides(changes))

    @property
    def samples(self) -> SampleReader:
        """Log-weights, accept decisions and measurements of every proposal."""
        with trusting(self._trust):
            return SampleReader(self.directory.root)

    @cached_property
    def results(self) -> "Results":
        """Observables with errors, from observables.json."""
        from trivmap.runs.stored import read_results

        with trusting(self._trust):
            return read_results(self.directory)

    def to_xarray(self) -> Any:
        """`results` as an `xarray.Dataset` with action and seed among its attributes; see `Results.to_xarray`."""
        return self.results.to_xarray(self._attributes())

    def to_datatree(self) -> Any:
        """Every measurement along the chains, as an `xarray.DataTree` that ArviZ reads.

        >>> arviz.InferenceData.from_datatree(run.to_datatree())

        Groups `posterior` (chain, draw) and, for proposals of a map, `sample_stats`; see `observables.chain_tree`. The
        attribute `untrusted` has the reasons for which the run withholds numbers, by name. Raises `InputError` for
        samples that are not complete or not those of the card and the map.
        """
        from trivmap.observables.datasets import chain_tree

        with trusting(self._trust), self.samples as reader:
            require_samples(self.directory, self._plan, reader)
            facts = {"lattice": list(self.card.lattice), "untrusted": self.summary.get("untrusted") or {}}
            return chain_tree(reader, facts | self._attributes())

    def _attributes(self) -> dict[str, Any]:
        """The facts of the card that say which ensemble this is."""
        card = self.card
        return {"name": card.name, "action": card.to_data()["action"], "seed": card.seed, "dtype": card.dtype}

    @cached_property
    def stages(self) -> "FlowStages":
        """Summaries of the field after each stage of the flow, from stages.json."""
        from trivmap.runs.stored import read_stages

        with trusting(self._trust):
            return read_stages(self.directory)

    @cached_property
    def plot(self) -> "Plots":
        """The figures of the report, drawn on request: `run.plot.correlator()`, or `run.plot.correlator(ax=axes)`."""
        from trivmap.reports.plots import Plots

        return Plots(self.directory.root, trust=self._trust)

    def __repr__(self) -> str:
        """The directory and the lattice, and below them the results where there are any."""
        head = f"Run({str(self.directory.root)!r}), {self.card.name or 'no name'}, lattice {self.card.lattice}"
        return f"{head}\n{self.results!r}" if is_file(self.directory.observables_path) else head

    def _repr_html_(self) -> str:
        head, _, _ = repr(self).partition("\n")
        results = self.results._repr_html_() if is_file(self.directory.observables_path) else ""
        return f"<p>{escape(head)}</p>{results}"


def load(path: str | os.PathLike[str], *, trust: bool = False) -> Run:
    """The run in a directory; raises `InputError` where there is none. `trust` as in `Run`."""
    return Run(RunDirectory.open(path), trust=trust)
