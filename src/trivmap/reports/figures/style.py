"""One look for every figure: sizes for a phone as well as a printed page, colors that survive color blindness.

Figures are made with matplotlib's object-oriented interface alone; no state of pyplot is touched.
"""

import functools
import io
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

# Okabe and Ito's palette (jfly.uni-koeln.de/color), one role for each color throughout a report.
CHAIN = "#0072B2"
REWEIGHTED = "#D55E00"
FIT = "#009E73"
REFERENCE = "#222222"
PROPOSALS = "#7f7f7f"
MARK = "#CC79A7"
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7f7f7f", "#222222")

_STYLE: dict[Any, Any] = {
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10.5,
    "legend.fontsize": 9,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "mathtext.fontset": "dejavusans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": True,
    "axes.formatter.limits": (-4, 5),
    "legend.frameon": True,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.5,
    "errorbar.capsize": 2.0,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
_DOTS_PER_INCH = 160


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw under the report's style, leaving the caller's matplotlib settings as they were."""

    @functools.wraps(draw)
    def wrapped(*args: Any, **kwargs: Any) -> Figure:
        with matplotlib.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return wrapped


def new_figure(width: float = 6.0, height: float = 4.0) -> Figure:
    """An empty figure of the given size in inches."""
    # Laid out in the resolution that it is saved in: the sizes of texts are measured once.
    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def logarithmic(axes: Axes) -> None:
    """A logarithmic y axis that masks what is not positive; `plain_labels` finishes it once its range is known."""
    axes.set_yscale("log", nonpositive="mask")


def plain_labels(axes: Axes) -> None:
    """Label a logarithmic y axis of less than two decades by plain numbers, as many as its range needs."""
    low, high = axes.get_ylim()
    if high / low > 100:
        return
    if high / low < 3:
        axes.yaxis.set_major_locator(MaxNLocator(5))
    else:
        digits = (1.0, 2.0, 5.0) if high / low > 8 else tuple(np.arange(1.0, 10.0))
        axes.yaxis.set_major_locator(LogLocator(subs=digits))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def words(text: str) -> str:
    """A text to be drawn as it is, whoever wrote it: matplotlib takes dollar signs for formulas."""
    return text.replace("$", r"\$")


def empty_panel(axes: Axes, text: str) -> None:
    """Say in words why there is nothing to draw."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#555555", wrap=True)


def png(figure: Figure) -> bytes:
    """The figure as a PNG picture."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()
