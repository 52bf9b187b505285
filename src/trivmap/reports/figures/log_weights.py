"""The histogram of log-weights: the distance between the map's density and the target's."""

import math

import numpy as np
from matplotlib.axes import Axes
from scipy.special import ndtr

from trivmap.reports.figures.style import NEW, PROPOSALS, REFERENCE, REWEIGHTED, Place, styled
from trivmap.reports.formats import parenthesis

_SHARE_APART = 0.1


@styled
def log_weight_figure(
    edges: np.ndarray,
    proposals: np.ndarray,
    target: np.ndarray,
    *,
    mean: float,
    variance: float,
    ess: tuple[float, float | None] | None = None,
    acceptance: tuple[float, float | None] | None = None,
    place: Place = NEW,
) -> Axes:
    """Densities of log w - log Z, w = exp(-S)/q, over the proposals and over the target (weighted by w).

    The normal distribution of the same mean and variance s^2, for which ESS = exp(-s^2) and the acceptance of
    independence Metropolis is erfc(s/2), is drawn if it describes the proposals: agreement with the measured `ess`
    and `acceptance` (value, error) then shows that the weights have no tail. `edges` has one entry more than the
    densities.
    """
    axes = place.axes()
    axes.stairs(proposals, edges, fill=True, color=PROPOSALS, alpha=0.45, label=r"proposals, density $q$")
    axes.stairs(target, edges, color=REWEIGHTED, linewidth=1.6, label=r"target, density $e^{-S}/Z$")
    grid = np.linspace(edges[0], edges[-1], 400)
    gaussian = np.exp(-((grid - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
    if normal := is_normal(edges, proposals, mean, variance):
        axes.plot(grid, gaussian, color=REFERENCE, linestyle=(0, (4, 2)), label=_normal_label(variance))
    axes.set_xlabel(r"$\log w - \log Z$")
    axes.set_ylabel("density")
    axes.set_ylim(0, 1.08 * max(proposals.max(), target.max(), gaussian.max() if normal else 0))
    measured = [f"{name} {_number(*pair)}" for name, pair in (("ESS", ess), ("acceptance", acceptance)) if pair]
    axes.legend(loc="upper left", title="measured: " + ", ".join(measured) if measured else None, title_fontsize=9)
    axes.margins(x=0)
    # Room for the legend above curves of any shape.
    axes.set_ylim(0, axes.get_ylim()[1] * 1.45)
    return axes


def _number(value: float, error: float | None) -> str:
    return f"{value:.3g}" if error is None else parenthesis(value, error)


def is_normal(edges: np.ndarray, density: np.ndarray, mean: float, variance: float) -> bool:
    """True if a normal distribution describes a histogram: they share nine tenths of their probability."""
    if variance <= 0:
        return False
    expected = np.diff(ndtr((edges - mean) / math.sqrt(variance)))
    return bool(np.abs(density * np.diff(edges) - expected).sum() / 2 < _SHARE_APART)


def _normal_label(variance: float) -> str:
    ess, acceptance = math.exp(-variance), math.erfc(math.sqrt(variance) / 2)
    return f"normal with $s^2={variance:.3g}$ would give\nESS {ess:.3g}, acceptance {acceptance:.3g}"
