"""The figures of a run, with their titles and captions."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from trivmap.lattice import Lattice
from trivmap.observables.catalog import CATALOG
from trivmap.reports.data import RunData
from trivmap.reports.figures.autocorrelation import autocorrelation_figure, rejection_runs_figure
from trivmap.reports.figures.configurations import configurations_figure
from trivmap.reports.figures.consistency import consistency_figure
from trivmap.reports.figures.correlator import correlator_figure
from trivmap.reports.figures.effective_mass import effective_mass_figure
from trivmap.reports.figures.log_weights import log_weight_figure
from trivmap.reports.figures.magnetization import magnetization_figure, magnetization_history_figure
from trivmap.reports.figures.stages import stages_figure
from trivmap.reports.figures.style import png
from trivmap.reports.figures.training import training_figure
from trivmap.reports.page import Picture
from trivmap.reports.streams import rejections_in_a_row
from trivmap.reports.tables import ResultRow
from trivmap.reports.trust import reason_against


def draw_pictures(data: RunData, rows: list[ResultRow]) -> list[Picture]:
    """Every figure that the run has data for, drawn."""
    return [*_results(rows), *_training(data), *_sampling(data), *_correlations(data), *_map(data)]


_FIT = " The χ² of the fit leaves out the correlations between points; beside it what is expected with them."


def _results(rows: list[ResultRow]) -> Iterator[Picture]:
    pulls: dict[str, list[float | None]] = {
        "chain − reweighted": [row.difference_pull for row in rows],
        "chain − reference": [row.pull for row in rows],
    }
    pulls = {label: values for label, values in pulls.items() if any(value is not None for value in values)}
    shown = [k for k in range(len(rows)) if any(values[k] is not None for values in pulls.values())]
    if shown:
        figure = consistency_figure(
            [rows[k].name for k in shown], {label: [values[k] for k in shown] for label, values in pulls.items()}
        )
        yield Picture(
            "consistency", "results", "Consistency",
            "Differences in units of their standard error. Chain and reweighted proposals share their noise, which the "
            "error of their difference takes into account; rows are correlated with each other.",
            png(figure),
        )  # fmt: skip


def _training(data: RunData) -> Iterator[Picture]:
    if data.training is None:
        return
    training = data.training
    caption = "Loss on the training batches with its standard error, quality of the map, and the schedules."
    if training.milestones:
        caption += " Dashed lines: the first evaluation whose acceptance minus one error exceeds the number above."
    if len(training.evaluations["step"]):
        caption += " Evaluations use fresh proposals."
    figure = training_figure(training.log, training.evaluations, training.milestones)
    yield Picture("training", "training", "Training", caption, png(figure))


def _sampling(data: RunData) -> Iterator[Picture]:
    sampling = data.judged["sampling"]
    if data.log_weights is not None:
        weights = data.log_weights
        figure = log_weight_figure(
            weights.edges, weights.proposals, weights.target, mean=weights.mean, variance=weights.variance,
            ess=_pair("ess", sampling.get("ess"), data.judged),
            acceptance=_pair("acceptance", sampling.get("acceptance"), data.judged),
        )  # fmt: skip
        yield Picture(
            "log_weights", "sampling", "Log-weights",
            "Logarithm of w = exp(−S)/q relative to log Z, over the proposals and over the target. A perfect map has "
            "a single spike at 0; proposals far to the right are what the map misses.",
            png(figure),
        )  # fmt: skip
    if data.chain is None:
        return
    chain, order = data.chain, CATALOG[data.chain.order]
    named = "the magnetization" if order.zero_under else order.short
    figure = magnetization_figure(chain.edges, chain.density, chain.density_error, chain.reweighted, order=order.tex)
    yield Picture(
        "magnetization", "sampling", f"Distribution of {named}", "The band is one standard error of the chain.",
        png(figure),
    )  # fmt: skip
    yield Picture(
        "magnetization_history", "sampling", f"History of {named}",
        "The first measured steps of each chain (of four at most).",
        png(magnetization_history_figure(chain.steps, chain.histories, order=order.tex)),
    )  # fmt: skip
    runs = chain.rejection_runs
    tau = (data.summary.get("observables") or {}).get("abs_magnetization", {}).get("tau_int")
    rejections = None if runs is None else rejections_in_a_row(runs, len(chain.rho))
    yield Picture(
        "autocorrelation", "sampling", "Autocorrelation of |m|",
        "Normalized autocorrelation function with its standard error"
        + ("; dashed, what the rejections alone would cause." if runs is not None else "."),
        png(autocorrelation_figure(chain.rho, chain.rho_error, tau_int=tau, rejections=rejections)),
    )  # fmt: skip
    # Where nothing was accepted, no run has an end.
    if runs is not None and chain.acceptance:
        yield Picture(
            "rejection_runs", "sampling", "Runs of rejections",
            "How often exactly n proposals in a row were rejected before one was accepted. Points above the line are "
            "configurations that the map reaches too rarely.",
            png(rejection_runs_figure(runs, chain.acceptance)),
        )  # fmt: skip


def _correlations(data: RunData) -> Iterator[Picture]:
    curves, extent = data.curves, max(data.lattice, default=0)
    known = data.reference.observables if data.reference else {}
    if curves.correlator is not None:
        figure = correlator_figure(
            *curves.correlator, extent=extent, fit=curves.correlator_fit, reweighted=curves.correlator_reweighted
        )
        yield Picture(
            "correlator", "correlations", "Zero-momentum correlator",
            "C(t), nothing subtracted, averaged over the axes of the largest extent L."
            + _FIT * bool(curves.correlator_fit and curves.correlator_fit["expected_chi_squared"] > 0),
            png(figure),
        )  # fmt: skip
    if curves.effective_mass is not None and np.any(np.isfinite(curves.effective_mass[0])):
        length = known.get("correlation_length_arccosh")
        exact = 1 / length.value if length else None
        yield Picture(
            "effective_mass", "correlations", "Effective mass",
            "m(t) = arccosh((C(t−1) + C(t+1)) / 2C(t)); the band is the weighted mean over its width.",
            png(effective_mass_figure(*curves.effective_mass, plateau=curves.plateau, exact=exact)),
        )  # fmt: skip


def _map(data: RunData) -> Iterator[Picture]:
    if data.stages:
        distance = np.linalg.norm(Lattice(data.lattice).orbit_representatives, axis=1)
        yield Picture(
            "stages", "map", "Stages",
            "Two-point function, correlation length, distribution of the field and of the magnetization after every "
            "stage; the colors of the correlation lengths name the stages in all panels. Dashed: the chain.",
            png(stages_figure(data.stages, distance, target=_target(data))), wide=True,
        )  # fmt: skip
    if data.configurations is not None:
        base, output = data.configurations
        text = f"What the base draws, {'beside' if output.ndim == 2 else 'above'} what the map makes of it."
        slices = {2: "", 3: "", 4: " The slice x₃ = 0."}.get(output.ndim, " The slice x₃ = x₄ = … = 0.")
        yield Picture(
            "configurations", "map", "Configurations", text + slices,
            png(configurations_figure(base, output)), wide=True,
        )  # fmt: skip


def _target(data: RunData) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if data.curves.two_point is not None:
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
