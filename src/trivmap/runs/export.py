"""Whole configurations of a run's map, drawn again after the fact and written for other programs."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trivmap.errors import InputError
from trivmap.runs.budget import amount, free_disk, part_length, within_memory
from trivmap.runs.pipeline import facts_of_samples
from trivmap.runs.plan import Plan
from trivmap.runs.progress import NoProgress, Progress, shown
from trivmap.runs.samplers import build_sampler
from trivmap.runs.verdicts import integration_reason, reasons_of_samples
from trivmap.simulation import ProposalChains
from trivmap.store.definitions import definition_of_weights, field_dimensions
from trivmap.store.directory import RunDirectory
from trivmap.store.environment import generator, package_version
from trivmap.store.exports import PROPOSALS, Form, exporting, require_exportable
from trivmap.store.plain import is_file
from trivmap.store.samples import SampleReader

LOG_Z = "Z = integral of exp(-S) over all fields, S and q as they are, with every constant"
_ROUNDING = 1000
"""Units of rounding, relative to the largest log-weight or the sites, by which a number drawn again may differ."""
_SHARE, _FEW = 1 / 100, 2
"""The share, and the number, of proposals that may be others: rounding decides on a step of a random walk, say."""


class Exported(NamedTuple):
    """A file of configurations: their shape (chains, n, ...), and how they compare with the samples of the run.

    `compared` log-weights were stored and `identical` of them are the same in every bit. `largest_difference` is that
    of the others, None where none are stored; `apart` of them differ by more than rounding. `untrusted` are the
    reasons, by name, for which the run withholds numbers that come from these weights; None if it has not drawn any.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: str
    compared: int
    identical: int
    largest_difference: float | None
    apart: int
    untrusted: dict[str, str] | None


@within_memory("sampling.batch")
def export(
    run: RunDirectory, path: Path, fields: int, progress: Progress | None = None, *, plan: Plan | None = None
) -> Exported:
    """Draw the first proposals of a run again and write them, as whole configurations, with their log-weights.

    Proposal i of a chain depends only on the run's seed, the chain and i: these are the proposals of samples.h5,
    i = 0, 1, ... of every chain. They are independent: means in exp(-S)/Z are sum(w O) / sum(w). Those of a map have
    its density q, and log w = -S - log q. Where the proposals are stored, their log-weights are compared with those
    drawn again. Batches begin where those of the run began, so that they agree in every bit on the same machine,
    elsewhere up to rounding. Sites that the map leaves out are drawn as the run drew them.

    The facts in the file contain the certificate of a continuous map, and the reasons for which the run withholds
    numbers.

    Args:
        run: the run, which must have its map.
        path: the file to make: HDF5 (.h5, .hdf5), or NumPy's .npz.
        fields: the number of configurations, of all chains together.
        progress: where progress is shown.
        plan: the plan of the run's card, where the caller has one.

    Raises:
        InputError: for another suffix, a file that exists, no or too many configurations for the disk, a number that
            the chains do not divide, a run whose sampler has no independent proposals, and stored samples that are not
            what is drawn.
    """
    progress, plan = progress or NoProgress(), plan or Plan(run.card())
    section = plan.card.sampling
    require_exportable(path)
    if fields < 1 or fields % section.chains:
        raise InputError(
            f"--fields: must be a multiple of the {section.chains} chains of {run.root}, got {fields}; every chain "
            "gives the same number of its first proposals"
        )
    sampler = build_sampler(run, plan)
    driver = sampler.driver
    if not isinstance(driver, ProposalChains):
        raise InputError(
            f"{run.root}: was sampled by {section.kind}, whose steps cannot be drawn again one by one; sample with "
            "save_fields: true in the card, and take the fields from samples.h5"
        )
    shape = (section.chains, fields // section.chains, *plan.action.space.shape(plan.lattice))
    form = Form(
        shape,
        np.dtype(plan.card.dtype),
        "proposal i of each chain, a whole configuration, to be weighted by w",
        ["chain", "proposal", *field_dimensions(len(shape) - 2, plan.lattice.dimension)],
    )
    weights = Form(shape[:2], np.dtype(np.float64), definition_of_weights(section.kind), ["chain", "proposal"])
    _require_room(path, form.nbytes + weights.nbytes)
    settled = sampler.settle()
    identity = {name: settled[name] for name in ("model", "integration_steps") if name in settled}
    identity["generator"] = generator(plan.keys["sample"])
    with _samples(run, plan, identity) as reader, shown(progress, "export", fields):
        comparison = _Comparison(run, reader, plan)
        certificate = None if sampler.certified is None else sampler.certified.noted
        untrusted = _untrusted(run, certificate)
        verdicts = {"certificate": certificate, "untrusted": untrusted}
        with exporting(path, form, weights, _facts(plan, identity) | verdicts) as put:
            done = 0
            for chain, start, stop in _stretches(plan, reader, shape[1]):
                for proposal, _ in driver.proposals(chain, start, stop):
                    drawn, log_weight = np.asarray(proposal.field), np.asarray(proposal.log_weight)
                    comparison.add(chain, start, log_weight)
                    put(drawn, log_weight)
                    start, done = start + len(drawn), done + len(drawn)
                    progress.update(done)
            comparison.require_same()
    return Exported(path, shape, plan.card.dtype, *comparison.facts(), untrusted)


def _untrusted(run: RunDirectory, certificate: Mapping[str, Any] | None) -> dict[str, str] | None:
    """The reasons to distrust the log-weights of a run, None if they have not been judged."""
    summary = run.summary()
    found = reasons_of_samples(summary) if summary.get("sampling") else None
    if certificate and not certificate["passed"]:
        return {**(found or {}), "log_z": integration_reason(dict(certificate))}
    return found


def _require_room(path: Path, size: int) -> None:
    free = free_disk(path)
    if free is not None and size > free:
        raise InputError(
            f"--fields: the configurations will take {amount(size)}, and {amount(free)} are free at {path}; ask for "
            "fewer, or name a file on another disk"
        )


def _samples(run: RunDirectory, plan: Plan, identity: Mapping[str, Any]) -> AbstractContextManager[SampleReader | None]:
    """The stored samples, which must be those of the card and the map, or none."""
    if not is_file(run.samples_path):
        return nullcontext()
    reader = SampleReader(run.root)
    reader.require({**facts_of_samples(plan.card), **identity})
    return reader


def _stretches(plan: Plan, reader: SampleReader | None, count: int) -> Iterator[tuple[int, int, int]]:
    """(chain, start, stop) of stretches that begin as the parts of the samples do."""
    stored = () if reader is None else reader.parts
    beyond = 0 if reader is None else reader.n
    starts = [part.start for part in stored if part.start < count] + [*range(beyond, count, part_length(plan))]
    for chain in range(plan.card.sampling.chains):
        yield from ((chain, start, stop) for start, stop in zip(starts, [*starts[1:], count], strict=True))


class _Comparison:
    """The log-weights that are drawn again, compared with those that are stored."""

    def __init__(self, run: RunDirectory, reader: SampleReader | None, plan: Plan):
        self._run, self._reader = run, reader
        self._unit = float(np.finfo(plan.card.dtype).eps) * _ROUNDING
        self._scale = float(plan.lattice.volume)
        self._compared = self._identical = self._apart = 0
        self._largest = 0.0

    def add(self, chain: int, start: int, drawn: np.ndarray) -> None:
        """Proposals from `start` of a chain."""
        if self._reader is None:
            return
        stored = self._reader.read("log_weight", chain, start, start + len(drawn))
        drawn = np.asarray(drawn[: len(stored)], np.float64)
        same = (stored == drawn) | (np.isnan(stored) & np.isnan(drawn))
        # A NaN in one of the two is no small difference.
        difference = np.nan_to_num(np.abs(np.where(same, 0.0, stored - drawn)), nan=np.inf)
        self._compared, self._identical = self._compared + len(stored), self._identical + int(same.sum())
        self._largest = max(self._largest, float(difference.max(initial=0.0)))
        tolerance = self._unit * np.maximum(self._scale, np.abs(stored))
        self._apart += int(np.sum(~same & ~(difference <= tolerance)))

    def require_same(self) -> None:
        """Raise `InputError` if more of them are others than the few in which rounding decides on a step."""
        if self._apart > max(_FEW, self._compared * _SHARE):
            raise InputError(
                f"{self._run.samples_path}: holds other proposals than this program draws from the map of "
                f"{self._run.root} ({self._apart} of {self._compared} log-weights differ, by up to "
                f"{self._largest:.2g}); use the versions of trivmap and JAX that environment.json names"
            )

    def facts(self) -> tuple[int, int, float | None, int]:
        """The entries of `Exported` about the comparison."""
        return self._compared, self._identical, self._largest if self._compared else None, self._apart


def _facts(plan: Plan, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that the file of configurations carries."""
    return {
        "format": "trivmap configurations",
        "ensemble": PROPOSALS,
        "kind": plan.card.sampling.kind,
        **identity_of_theory(plan),
        **identity,
    }


def identity_of_theory(plan: Plan) -> dict[str, Any]:
    """The facts of an exported file that say what theory, and which run, it is of."""
    return {
        "schema": 1,
        "action": {name: value for name, value in plan.card.to_data()["action"].items() if value is not None},
        "lattice": list(plan.card.lattice),
        "dtype": plan.card.dtype,
        "seed": plan.card.seed,
        "log_z": LOG_Z,
        "trivmap": package_version("trivmap") or "unknown",
    }
