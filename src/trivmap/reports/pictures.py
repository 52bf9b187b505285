"""The figures of a run, with their titles and captions."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trivmap.lattice import Lattice
from trivmap.observables.catalog import CATALOG
from trivmap.reports.data import RunData
from trivmap.reports.figures import (
    autocorrelation_figure,
    configurations_figure,
    consistency_figure,
    correlator_figure,
    effective_mass_figure,
    log_weight_figure,
    magnetization_figure,
    magnetization_history_figure,
    png,
    rejection_runs_figure,
    stages_figure,
    training_figure,
)
from trivmap.reports.page import Picture
from trivmap.reports.streams import rejections_in_a_row
from trivmap.reports.tables import ResultRow
from trivmap.reports.trust import reason_against


def draw_pictures(data: RunData, rows: list[ResultRow]) -> list[Picture]:
    """Every figure that the run has data for, drawn."""
    drawn = []
    for key, section, title, caption, wide, figure in _figures(data, rows):
        drawn.append(Picture(key, section, title, caption, png(figure), wide))
    return drawn


_FIT = " The χ² of the fit leaves out the correlations between points; beside it what is expected with them."
Entry = tuple[str, str, str, str, bool, Figure]


def _figures(data: RunData, rows: list[ResultRow]) -> Iterator[Entry]:
    yield from _results(rows)
    yield from _training(data)
    yield from _sampling(data)
    yield from _correlations(data)
    yield from _map(data)


def _results(rows: list[ResultRow]) -> Iterator[Entry]:
    pulls: dict[str, list[float | None]] = {
        "chain − reweighted": [row.difference_pull for row in rows],
        "chain − reference": [row.pull for row in rows],
    }
    pulls = {label: values for label, values in pulls.items() if any(value is not None for value in values)}
    shown = [k for k in range(len(rows)) if any(values[k] is not None for values in pulls.values())]
    if shown:
        yield (
            "consistency", "results", "Consistency",
            "Differences in units of their standard error. Chain and reweighted proposals share their noise, which the "
            "error of their difference takes into account; rows are correlated with each other.",
            False,
            consistency_figure(
                [rows[k].name for k in shown], {label: [values[k] for k in shown] for label, values in pulls.items()}
            ),
        )  # fmt: skip


def _training(data: RunData) -> Iterator[Entry]:
    if data.training is None:
        return
    training = data.training
    caption = "Loss on the training batches with its standard error, quality of the map, and the schedules."
    if training.milestones:
        caption += " Dashed lines: the first evaluation whose acceptance minus one error exceeds the number above."
    if len(training.evaluations["step"]):
        caption += " Evaluations use fresh proposals."
    figure = training_figure(training.log, training.evaluations, training.milestones)
    yield "training", "training", "Training", caption, False, figure


def _sampling(data: RunData) -> Iterator[Entry]:
    sampling = data.judged["sampling"]
    if data.log_weights is not None:
        weights = data.log_weights
        figure = log_weight_figure(
            weights.edges, weights.proposals, weights.target, mean=weights.mean, variance=weights.variance,
            ess=_pair("ess", sampling.get("ess"), data.judged),
            acceptance=_pair("acceptance", sampling.get("acceptance"), data.judged),
        )  # fmt: skip
        yield (
            "log_weights", "sampling", "Log-weights",
            "Logarithm of w = exp(−S)/q relative to log Z, over the proposals and over the target. A perfect map has "
            "a single spike at 0; proposals far to the right are what the map misses.",
            False, figure,
        )  # fmt: skip
    if data.chain is None:
        return
    chain, order = data.chain, CATALOG[data.chain.order]
    named = "the magnetization" if order.zero_under else order.short
    yield (
        "magnetization", "sampling", f"Distribution of {named}",
        "The band is one standard error of the chain.", False,
        magnetization_figure(chain.edges, chain.density, chain.density_error, chain.reweighted, order=order.tex),
    )  # fmt: skip
    yield (
        "magnetization_history", "sampling", f"History of {named}",
        "The first measured steps of each chain (of four at most).", False,
        magnetization_history_figure(chain.steps, chain.histories, order=order.tex),
    )  # fmt: skip
    runs = chain.rejection_runs
    tau = (data.summary.get("observables") or {}).get("abs_magnetization", {}).get("tau_int")
    yield (
        "autocorrelation", "sampling", "Autocorrelation of |m|",
        "Normalized autocorrelation function with its standard error"
        + ("; dashed, what the rejections alone would cause." if runs is not None else "."),
        False,
        autocorrelation_figure(
            chain.rho, chain.rho_error, tau_int=tau,
            rejections=None if runs is None else rejections_in_a_row(runs, len(chain.rho)),
        ),
    )  # fmt: skip
    # Where nothing was accepted, no run has an end.
    if runs is not None and chain.acceptance:
        yield (
            "rejection_runs", "sampling", "Runs of rejections",
            "How often exactly n proposals in a row were rejected before one was accepted. Points above the line are "
            "configurations that the map reaches too rarely.",
            False, rejection_runs_figure(runs, chain.acceptance),
        )  # fmt: skip


def _correlations(data: RunData) -> Iterator[Entry]:
    curves, extent = data.curves, max(data.lattice, default=0)
    known = data.reference.observables if data.reference else {}
    if curves.correlator is not None:
        yield (
            "correlator", "correlations", "Zero-momentum correlator",
            "C(t), nothing subtracted, averaged over the axes of the largest extent L."
            + _FIT * bool(curves.correlator_fit and curves.correlator_fit["expected_chi_squared"] > 0),
            False,
            correlator_figure(
                *curves.correlator, extent=extent, fit=curves.correlator_fit, reweighted=curves.correlator_reweighted
            ),
        )  # fmt: skip
    if curves.effective_mass is not None and np.any(np.isfinite(curves.effective_mass[0])):
        exact = known.get("correlation_length_arccosh")
        yield (
            "effective_mass", "correlations", "Effective mass",
            "m(t) = arccosh((C(t−1) + C(t+1)) / 2C(t)); the band is the weighted mean over its width.", False,
            effective_mass_figure(
                *curves.effective_mass, plateau=curves.plateau, exact=1 / exact.value if exact else None
            ),
        )  # fmt: skip


def _map(data: RunData) -> Iterator[Entry]:
    if data.stages:
        yield (
            "stages", "map", "Stages",
            "Two-point function, correlation length, distribution of the field and of the magnetization after every "
            "stage; the colors of the correlation lengths name the stages in all panels. Dashed: the chain.",
            True, stages_figure(data.stages, target=_target(data)),
        )  # fmt: skip
    if data.configurations is not None:
        base, output = data.configurations
        text = "Configurations of the chain."
        if base is not None:
            text = f"What the base draws, {'beside' if output.ndim == 2 else 'above'} what the map makes of it."
        slices = {2: "", 3: "", 4: " The slice x₃ = 0."}.get(output.ndim, " The slice x₃ = x₄ = … = 0.")
        yield (
            "configurations", "map", "Configurations",
            text + slices, True, configurations_figure(base, output),
        )  # fmt: skip


def _target(data: RunData) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if data.curves.two_point is not None:
        found["distance"] = np.linalg.norm(Lattice(data.lattice).orbit_representatives, axis=1)
        found["two_point"] = data.curves.two_point[0]
    entry = (data.summary.get("observables") or {}).get("correlation_length")
    pair = _pair("correlation_length", entry, data.judged)
    if pair:
        found["correlation_length"] = pair
    if data.chain is not None:
        found["magnetization_edges"], found["magnetization_density"] = data.chain.edges, data.chain.density
    return found


def _pair(name: str, entry: Any, summary: Mapping[str, Any]) -> tuple[float, float | None] | None:
    """(value, error) of an entry of the summary, None if there is none that can be trusted."""
    if entry is None or reason_against(name, entry, summary):
        return None
    return (float(entry["value"]), float(entry["error"])) if isinstance(entry, Mapping) else (float(entry), None)
