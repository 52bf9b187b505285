"""The zero-momentum correlator and its fit."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from trivmap.reports.figures.style import CHAIN, FIT, NEW, REWEIGHTED, Place, logarithmic, plain_labels, styled
from trivmap.reports.formats import parenthesis


@styled
def correlator_figure(
    correlator: np.ndarray,
    error: np.ndarray,
    *,
    extent: int,
    fit: Mapping[str, float] | None = None,
    reweighted: tuple[np.ndarray, np.ndarray] | None = None,
    place: Place = NEW,
) -> Axes:
    """C(t), t = 0 .. L // 2, on a logarithmic scale, with the fit A cosh(m (t - L/2)) / cosh(m L/2); L is `extent`.

    `fit` holds `amplitude`, `correlation_length` = 1/m, `correlation_length_error`, `start` (the first t of the
    window, which ends at L/2), `chi_squared` and `expected_chi_squared`. Points that are not positive cannot be drawn
    on a logarithmic scale and are left out.
    """
    axes = place.axes()
    logarithmic(axes)
    time = np.arange(len(correlator))
    shown = correlator > 0
    lower = np.minimum(error, 0.999 * np.abs(correlator))
    axes.errorbar(
        time[shown], correlator[shown], np.stack([lower, error])[:, shown], fmt="o", markersize=4, color=CHAIN,
        label="chain",
    )  # fmt: skip
    if reweighted is not None:
        value, value_error = reweighted
        positive = value > 0
        bars = np.stack([np.minimum(value_error, 0.999 * np.abs(value)), value_error])[:, positive]
        axes.errorbar(
            time[positive] + 0.012 * extent, value[positive], bars, fmt="s", markersize=3.5, color=REWEIGHTED,
            mfc="white", label="reweighted",
        )  # fmt: skip
    if fit:
        grid = np.linspace(fit["start"], len(correlator) - 1, 200)
        mass = 1 / fit["correlation_length"]
        curve = fit["amplitude"] * np.cosh(mass * (grid - extent / 2)) / np.cosh(mass * extent / 2)
        axes.plot(grid, curve, color=FIT, label=_fit_label(fit), zorder=1)
    axes.set_xlabel(r"$t$")
    axes.set_ylabel(r"$C(t)$")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain_labels(axes)
    axes.legend(loc="best")
    return axes


def _fit_label(fit: Mapping[str, float]) -> str:
    length = parenthesis(fit["correlation_length"], fit["correlation_length_error"])
    label = rf"$\cosh(m(t-L/2))$, $1/m=${length}"
    if fit.get("expected_chi_squared", 0) > 0:
        label += f", $\\chi^2$ {fit['chi_squared']:.2g}, expected {fit['expected_chi_squared']:.2g}"
    return label
