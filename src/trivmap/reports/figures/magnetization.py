"""The order parameter: its distribution and its history."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from trivmap.reports.figures.style import CHAIN, NEW, REWEIGHTED, Place, styled


@styled
def magnetization_figure(
    edges: np.ndarray,
    chain: np.ndarray,
    chain_error: np.ndarray,
    reweighted: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    order: str = "m",
    place: Place = NEW,
) -> Axes:
    """P(m) of the chain as a band of one standard error, and of the reweighted proposals (density, error) as points.

    With the symmetry m -> -m both sides must agree: if one of two peaks is missing, the map has failed.

    Args:
        edges: the edges of the bins, one more than the densities.
        chain: the density over the chain.
        chain_error: its error.
        reweighted: the reweighted density and its error, if any.
        order: the formula of the order parameter.
        place: where to draw.
    """
    axes = place.axes()
    axes.fill_between(
        np.repeat(edges, 2)[1:-1], np.repeat(np.maximum(chain - chain_error, 0), 2), np.repeat(chain + chain_error, 2),
        color=CHAIN, alpha=0.3, linewidth=0,
    )  # fmt: skip
    axes.stairs(chain, edges, color=CHAIN, label="chain")
    if reweighted is not None:
        center = (edges[1:] + edges[:-1]) / 2
        axes.errorbar(
            center, *reweighted, fmt="s", markersize=3, color=REWEIGHTED, mfc="white", linewidth=1, label="reweighted"
        )
    if edges[0] < 0:
        axes.axvline(0, color="#bbbbbb", linewidth=0.8, zorder=0)
    axes.set_xlabel(r"$m = V^{-1}\sum_x \phi(x)$" if order == "m" else f"${order}$")
    axes.set_ylabel(f"$P({order})$")
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    axes.legend(loc="upper right")
    return axes


@styled
def magnetization_history_figure(
    step: np.ndarray, histories: np.ndarray, *, order: str = "m", place: Place = NEW
) -> FigureBase:
    """The order parameter (formula `order`) of every chain against its step: `histories` (chains, len(step))."""
    figure = place.figure(6.0, 1.0 + 1.1 * max(len(histories), 2))
    panels = figure.subplots(len(histories), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    limit = 1.08 * np.abs(histories).max()
    for number, (axes, history) in enumerate(zip(panels, histories, strict=True)):
        axes.axhline(0, color="#999999", linewidth=0.8)
        axes.plot(step, history, color=CHAIN, linewidth=0.6, drawstyle="steps-post")
        axes.set_title(f"chain {number}", loc="left", fontsize=9, pad=2)
        axes.set_ylim(-limit if histories.min() < 0 else 0, limit)
        axes.set_ylabel(f"${order}$")
    panels[-1].set_xlabel("step of the chain")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    panels[-1].margins(x=0.005)
    return figure
