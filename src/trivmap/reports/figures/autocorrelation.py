"""The autocorrelation of a chain."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from trivmap.reports.figures.style import CHAIN, FIT, MARK, NEW, REFERENCE, Place, logarithmic, styled


@styled
def autocorrelation_figure(
    rho: np.ndarray,
    error: np.ndarray,
    *,
    tau_int: float | None = None,
    rejections: np.ndarray | None = None,
    place: Place = NEW,
) -> Axes:
    """rho(t) of |m| along the chain, t = 0, 1, ..., in units of configurations.

    `tau_int` = 1/2 + sum of rho goes into the legend. `rejections[t]` is the probability that t
    proposals in a row are all rejected: the autocorrelation that rejections alone would cause.
    """
    axes = place.axes()
    time = np.arange(len(rho))
    label = r"$\rho_{|m|}(t)$"
    if tau_int is not None:
        label += rf", $\tau_\mathrm{{int}}={tau_int:.3g}$"
    axes.fill_between(time, rho - error, rho + error, color=CHAIN, alpha=0.25, linewidth=0)
    axes.plot(time, rho, color=CHAIN, marker="o" if len(rho) < 60 else None, markersize=3, label=label)
    if rejections is not None:
        axes.plot(time, rejections[: len(time)], color=MARK, linestyle=(0, (4, 2)), label="P(t rejections in a row)")
    axes.axhline(0, color=REFERENCE, linewidth=0.8)
    axes.set_xlabel(r"$t$ [configurations]")
    axes.set_ylabel(r"$\rho(t)$")
    axes.set_ylim(min(-0.05, 1.1 * (rho - error).min()), 1.04)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.01)
    axes.legend(loc="upper right")
    return axes


@styled
def rejection_runs_figure(counts: np.ndarray, acceptance: float, place: Place = NEW) -> Axes:
    """Number of runs of exactly n rejections between two acceptances: `counts[n]`, n = 0, 1, ...

    The line is the prediction of a constant acceptance, counts.sum() a (1-a)^n; long runs above it are configurations
    of exceptionally large weight, where the map misses the target.
    """
    axes = place.axes()
    logarithmic(axes)
    length = np.arange(len(counts))
    shown = counts > 0
    bars = np.sqrt(counts[shown])
    lower = np.minimum(bars, 0.9 * counts[shown])
    axes.errorbar(
        length[shown], counts[shown], np.stack([lower, bars]), fmt="o", markersize=3.5, color=CHAIN, linewidth=1,
        label="chain",
    )  # fmt: skip
    geometric = counts.sum() * acceptance * (1 - acceptance) ** length
    visible = geometric > 0.3
    axes.plot(length[visible], geometric[visible], color=FIT, label=f"constant acceptance {acceptance:.3g}", zorder=1)
    axes.set_ylim(0.4, 2.5 * counts.max())
    axes.set_xlabel(r"rejections in a row $n$")
    axes.set_ylabel("number of runs")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper right")
    return axes
