"""The effective pole mass and its plateau."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from trivmap.reports.figures.style import CHAIN, FIT, NEW, REFERENCE, Place, styled
from trivmap.reports.formats import parenthesis


@styled
def effective_mass_figure(
    time: np.ndarray,
    mass: np.ndarray,
    error: np.ndarray,
    *,
    plateau: Mapping[str, float] | None = None,
    exact: float | None = None,
    place: Place = NEW,
) -> Axes:
    """m_eff(t) = arccosh((C(t-1) + C(t+1)) / (2 C(t))) with errors, and the band of its weighted plateau.

    `plateau` holds `value`, `error`, `first`, `last` (the range of t); `exact` is the mass if it is known.
    """
    axes = place.axes()
    known = np.isfinite(mass) & np.isfinite(error)
    axes.errorbar(
        time[known], mass[known], error[known], fmt="o", markersize=4, color=CHAIN, label=r"$m_\mathrm{eff}(t)$"
    )
    if plateau:
        first, last = plateau["first"] - 0.3, plateau["last"] + 0.3
        low, high = plateau["value"] - plateau["error"], plateau["value"] + plateau["error"]
        axes.fill_between([first, last], low, high, color=FIT, alpha=0.3, linewidth=0)
        label = f"plateau {parenthesis(plateau['value'], plateau['error'])}"
        axes.plot([first, last], [plateau["value"]] * 2, color=FIT, label=label)
    if exact is not None:
        axes.axhline(exact, color=REFERENCE, linestyle=(0, (4, 2)), linewidth=1, label=f"exact {exact:.5g}")
    _frame(axes, mass[known], error[known])
    axes.set_xlabel(r"$t$")
    axes.set_ylabel(r"$m_\mathrm{eff}(t)$")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0.4, max(time.max(initial=1), 1) + 0.6)
    axes.legend(loc="best")
    return axes


def _frame(axes: Axes, mass: np.ndarray, error: np.ndarray) -> None:
    # Errors at large t are many times the mass; they must not set the range of the axis.
    if not len(mass):
        return
    precise = error <= 10 * error.min()
    low, high = (mass - error)[precise].min(), (mass + error)[precise].max()
    margin = 0.35 * max(high - low, 0.02 * abs(high))
    axes.set_ylim(low - margin, high + margin)
