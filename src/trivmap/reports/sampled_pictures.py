"""The figures of the samples of a run: weights, chain and correlations."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from trivmap.observables.catalog import CATALOG
from trivmap.reports.data import RunData
from trivmap.reports.drawings import Drawing
from trivmap.reports.figures.autocorrelation import autocorrelation_figure, rejection_runs_figure
from trivmap.reports.figures.correlator import correlator_figure
from trivmap.reports.figures.effective_mass import effective_mass_figure
from trivmap.reports.figures.log_weights import is_normal, log_weight_figure
from trivmap.reports.figures.magnetization import magnetization_figure, magnetization_history_figure
from trivmap.reports.formats import count, parenthesis
from trivmap.reports.streams import ChainStatistics, LogWeightHistogram, rejections_in_a_row
from trivmap.reports.trust import reason_against

_FIT = " The χ² of the fit leaves out the correlations between points; beside it what is expected with them."


def sampling(data: RunData) -> Iterator[Drawing]:
    """The weights of the proposals, and the chain."""
    if data.log_weights is not None:
        yield _log_weights(data, data.log_weights)
    if data.chain is None:
        return
    chain, order = data.chain, CATALOG[data.chain.order]
    named = "the magnetization" if order.zero_under else order.short
    density, edges = chain.density, chain.edges
    columns = {"low": edges[:-1], "high": edges[1:], "chain": density, "chain_error": chain.density_error}
    if chain.reweighted is not None:
        columns |= {"reweighted": chain.reweighted[0], "reweighted_error": chain.reweighted[1]}
    peak = (edges[int(np.argmax(density))] + edges[int(np.argmax(density)) + 1]) / 2
    yield Drawing(
        "magnetization", "sampling", f"Distribution of {named}", "The band is one standard error of the chain.",
        f"Histogram of {named} from {edges[0]:.2g} to {edges[-1]:.2g}, highest near {peak:.2g}.",
        partial(magnetization_figure, edges, density, chain.density_error, chain.reweighted, order=order.tex), columns,
    )  # fmt: skip
    numbered = {f"chain_{number}": history for number, history in enumerate(chain.histories)}
    yield Drawing(
        "magnetization_history", "sampling", f"History of {named}",
        "The first measured steps of each chain (of four at most).",
        f"History of {named} in {len(numbered)} {'chain' if len(numbered) == 1 else 'chains'} over "
        f"{count(len(chain.steps))} steps, between {chain.histories.min():.2g} and {chain.histories.max():.2g}.",
        partial(magnetization_history_figure, chain.steps, chain.histories, order=order.tex),
        {"step": chain.steps, **numbered},
    )  # fmt: skip
    yield from _autocorrelation(data, chain)


def _log_weights(data: RunData, weights: LogWeightHistogram) -> Drawing:
    normal = is_normal(weights.edges, weights.proposals, weights.mean, weights.variance)
    caption = (
        "Logarithm of w = exp(−S)/q relative to log Z, over the proposals and over the target. A perfect map has "
        "a single spike at 0; proposals far to the right are what the map misses."
    )
    if normal:
        caption += " Dashed: the normal distribution of the same mean and variance s²."
    return Drawing(
        "log_weights", "sampling", "Log-weights", caption,
        f"Histogram of log w − log Z: mean {weights.mean:.2g}, standard deviation {np.sqrt(weights.variance):.2g}, "
        + ("close to a normal distribution." if normal else "not a normal distribution."),
        partial(
            log_weight_figure, weights.edges, weights.proposals, weights.target, mean=weights.mean,
            variance=weights.variance, ess=trusted("ess", data.judged["sampling"].get("ess"), data.judged),
            acceptance=trusted("acceptance", data.judged["sampling"].get("acceptance"), data.judged),
        ),
        {
            "low": weights.edges[:-1], "high": weights.edges[1:], "proposals": weights.proposals,
            "target": weights.target,
        },
    )  # fmt: skip


def _autocorrelation(data: RunData, chain: ChainStatistics) -> Iterator[Drawing]:
    runs = chain.rejection_runs
    tau = (data.summary.get("observables") or {}).get("abs_magnetization", {}).get("tau_int")
    rejections = None if runs is None else rejections_in_a_row(runs, len(chain.rho))
    columns = {"t": np.arange(len(chain.rho)), "rho": chain.rho, "rho_error": chain.rho_error}
    below = np.flatnonzero(chain.rho < 0.1)
    fall = f"falls below 0.1 at t = {below[0]}" if len(below) else "stays above 0.1"
    yield Drawing(
        "autocorrelation", "sampling", "Autocorrelation of |m|",
        "Normalized autocorrelation function with its standard error"
        + ("; dashed, what the rejections alone would cause." if runs is not None else "."),
        f"Autocorrelation function of |m| over {len(chain.rho)} configurations: it {fall}.",
        partial(autocorrelation_figure, chain.rho, chain.rho_error, tau_int=tau, rejections=rejections),
        columns if rejections is None else {**columns, "rejections_alone": rejections[: len(chain.rho)]},
    )  # fmt: skip
    # Where nothing was accepted, no run has an end.
    if runs is not None and chain.acceptance:
        yield Drawing(
            "rejection_runs", "sampling", "Runs of rejections",
            "How often exactly n proposals in a row were rejected before one was accepted. Points above the line are "
            "configurations that the map reaches too rarely.",
            f"Numbers of runs of exactly n rejections; the longest has {len(runs) - 1}.",
            partial(rejection_runs_figure, runs, chain.acceptance), {"n": np.arange(len(runs)), "runs": runs},
        )  # fmt: skip


def correlations(data: RunData) -> Iterator[Drawing]:
    """The correlator and its effective mass."""
    curves, extent = data.curves, max(data.lattice, default=0)
    known = data.reference.observables if data.reference else {}
    if curves.correlator is not None:
        value, error = curves.correlator
        columns = {"t": np.arange(len(value)), "chain": value, "chain_error": error}
        if curves.correlator_reweighted is not None:
            columns |= dict(zip(("reweighted", "reweighted_error"), curves.correlator_reweighted, strict=True))
        yield Drawing(
            "correlator", "correlations", "Zero-momentum correlator",
            "C(t), nothing subtracted, averaged over the axes of the largest extent L."
            + _FIT * bool(curves.correlator_fit and curves.correlator_fit["expected_chi_squared"] > 0),
            f"C(t) on a logarithmic scale: {value[0]:.3g} at t = 0, {value[-1]:.3g} at t = {len(value) - 1}.",
            partial(
                correlator_figure, value, error, extent=extent, fit=curves.correlator_fit,
                reweighted=curves.correlator_reweighted,
            ),
            columns,
        )  # fmt: skip
    if curves.effective_mass is not None and np.any(np.isfinite(curves.effective_mass[0])):
        length = known.get("correlation_length_arccosh")
        exact = 1 / length.value if length else None
        time, mass, error = curves.effective_mass
        level = curves.plateau
        said = "" if not level else f", its plateau {parenthesis(level['value'], level['error'])}"
        yield Drawing(
            "effective_mass", "correlations", "Effective mass",
            "m(t) = arccosh((C(t−1) + C(t+1)) / 2C(t)); the band is the weighted mean over its width.",
            f"Effective mass m(t) at {int(np.isfinite(mass).sum())} values of t{said}.",
            partial(effective_mass_figure, time, mass, error, plateau=level, exact=exact),
            {"t": time, "mass": mass, "mass_error": error},
        )  # fmt: skip


def trusted(name: str, entry: Any, summary: Mapping[str, Any]) -> tuple[float, float | None] | None:
    """(value, error) of an entry of the summary, None if there is none that can be trusted."""
    if entry is None or reason_against(name, entry, summary):
        return None
    return (float(entry["value"]), float(entry["error"])) if isinstance(entry, Mapping) else (float(entry), None)
