"""All data that a report draws, collected from a run directory; a missing part is left out and named."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trivmap.diagnostics.pulls import Agreement
from trivmap.estimate import Estimate
from trivmap.observables.stages import StageSummary
from trivmap.reports.references import Reference
from trivmap.reports.streams import ChainStatistics, LogWeightHistogram

_TARGETS = (0.5, 0.7, 0.9)


@dataclass(frozen=True)
class TrainingLog:
    """`metrics.jsonl` as arrays (NaN if a line lacks the key); evaluations separately; steps by target acceptance."""

    log: Mapping[str, np.ndarray]
    evaluations: Mapping[str, np.ndarray]
    milestones: Mapping[str, int]


@dataclass(frozen=True)
class MeasuredCurves:
    """Results that depend on a distance: `value` and `error` arrays, and the fits to them."""

    correlator: tuple[np.ndarray, np.ndarray] | None = None
    correlator_reweighted: tuple[np.ndarray, np.ndarray] | None = None
    correlator_fit: Mapping[str, float] | None = None
    effective_mass: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    plateau: Mapping[str, float] | None = None
    two_point: tuple[np.ndarray, np.ndarray] | None = None


@dataclass
class RunData:
    """The known facts of a run. `missing` gives the reason for each absent part."""

    directory: Path
    card: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    reference: Reference | None = None
    training: TrainingLog | None = None
    log_weights: LogWeightHistogram | None = None
    chain: ChainStatistics | None = None
    curves: MeasuredCurves = field(default_factory=MeasuredCurves)
    reweighted: dict[str, Estimate] = field(default_factory=dict)
    differences: dict[str, Estimate] = field(default_factory=dict)
    agreement: dict[str, Agreement] = field(default_factory=dict)
    untrusted: dict[str, str] = field(default_factory=dict)
    stages: list[StageSummary] | None = None
    configurations: tuple[np.ndarray, np.ndarray] | None = None
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def lattice(self) -> tuple[int, ...]:
        return tuple(self.summary.get("lattice") or self.card.get("lattice") or ())

    @property
    def judged(self) -> dict[str, Any]:
        """The summary with every reason to distrust a number under `untrusted`, and the ESS with its error.

        ESS and log Z come from the same weights: effective samples that are too few for one are too few for the other.
        """
        sampling, untrusted = dict(self.summary.get("sampling") or {}), dict(self.untrusted)
        if "ess_error" in sampling:
            sampling["ess"] = {"value": sampling.get("ess"), "error": sampling["ess_error"]}
        if "log_z" in untrusted:
            untrusted.setdefault("ess", untrusted["log_z"])
        return {**self.summary, "sampling": sampling, "untrusted": untrusted}


def training_log(lines: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> TrainingLog:
    """Arrays from the parsed lines of `metrics.jsonl`, milestones from the summary or else from the evaluations."""
    names = ("step", "loss", "loss_error", "ess", "acceptance", "learning_rate", "temperature", "damping")
    # Losses on other lattices would compress the losses on the last one to a flat line.
    last = max((line.get("rung", 0) for line in lines), default=0)
    first = min((line.get("step", 0) for line in lines if line.get("rung", 0) == last and "loss" in line), default=0)
    lines = [line for line in lines if line.get("step", 0) >= first]
    # An evaluation on a line of its own would leave gaps in the curves.
    logged = [line for line in lines if "loss" in line or not line.get("evaluation")]
    log = {name: _column(logged, name) for name in names}
    evaluated = [line for line in lines if line.get("evaluation")]
    evaluations = {"step": _column(evaluated, "step")}
    for name in ("acceptance", "ess"):
        for key, suffix in (("value", ""), ("error", "_error")):
            entries = [line["evaluation"].get(name) or {} for line in evaluated]
            evaluations[name + suffix] = _column(entries, key)
    written = (summary.get("training") or {}).get("acceptance_milestones")
    if written is not None:
        milestones = {target: entry["steps"] for target, entry in written.items() if entry}
    else:
        milestones = {}
        for target in _TARGETS:
            reached = evaluations["acceptance"] - evaluations["acceptance_error"] > target
            if reached.any():
                milestones[str(target)] = int(evaluations["step"][np.argmax(reached)])
    return TrainingLog(log, evaluations, milestones)


def _column(lines: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    values = [line.get(name) for line in lines]
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)
