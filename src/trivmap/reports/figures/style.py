"""The common style of all figures: sizes for a phone as well as a printed page, colors for color-blind readers.

Figures are made with matplotlib's object-oriented interface; pyplot is used only to show a figure.
"""

import functools
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from trivmap.errors import InputError

# Okabe and Ito's palette (jfly.uni-koeln.de/color); each color has one role throughout a report.
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


def styled(draw: Callable[..., Axes | FigureBase]) -> Callable[..., Figure]:
    """Draw in the report's style and return the whole figure; the caller's matplotlib settings do not change."""

    @functools.wraps(draw)
    def wrapped(*args: Any, **kwargs: Any) -> Figure:
        with matplotlib.rc_context(_STYLE):
            drawn = draw(*args, **kwargs).get_figure(root=True)
        assert isinstance(drawn, Figure)
        return drawn

    return wrapped


def new_figure(width: float = 6.0, height: float = 4.0) -> Figure:
    """An empty figure of the given size in inches."""
    # The layout uses the resolution of the saved file, so that text sizes are measured once.
    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@dataclass(frozen=True)
class Place:
    """The place of a drawing: the axes or the figure `given`, or a new figure, which pyplot shows if `shown`."""

    given: Axes | FigureBase | None = None
    shown: bool = False

    def figure(self, width: float = 6.0, height: float = 4.0) -> FigureBase:
        """The figure to draw on; a new figure has this size in inches."""
        if isinstance(self.given, FigureBase):
            return self.given
        if isinstance(self.given, Axes):
            raise InputError("figure: this plot has several panels; give figure= a Figure or SubFigure instead of axes")
        if not self.shown:
            return new_figure(width, height)
        from matplotlib import pyplot

        return pyplot.figure(figsize=(width, height), layout="constrained")

    def axes(self, width: float = 6.0, height: float = 4.0) -> Axes:
        """The axes to draw on."""
        return self.given if isinstance(self.given, Axes) else self.figure(width, height).subplots()


NEW = Place()
"""A new figure that pyplot does not know."""


def logarithmic(axes: Axes) -> None:
    """Make the y axis logarithmic and mask values that are not positive; `plain_labels` then labels the final range."""
    axes.set_yscale("log", nonpositive="mask")


def plain_labels(axes: Axes) -> None:
    """Label a logarithmic y axis of less than two decades with plain numbers, as many as its range needs."""
    low, high = axes.get_ylim()
    if high / low > 100:
        return
    if high / low < 3:
        axes.yaxis.set_major_locator(MaxNLocator(5))
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=_digits(low, high)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _digits(low: float, high: float) -> tuple[float, ...]:
    """The leading digits to label: the fewest with labels within a fifth of the top and of the bottom."""
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for digits in ((1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        labels = np.log(np.outer(decades, digits).ravel() / low) / np.log(high / low)
        inside = labels[(labels >= 0) & (labels <= 1)]
        if len(inside) >= 4 and inside.min() < 0.2 and inside.max() > 0.8:
            return digits
    return tuple(np.arange(1.0, 10.0)) if high / low < 8 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)


def words(text: str) -> str:
    """A text to be drawn literally: matplotlib would read dollar signs as formulas."""
    return text.replace("$", r"\$")


def empty_panel(axes: Axes, text: str) -> None:
    """Print the reason why there is nothing to draw."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#555555", wrap=True)


# Without date and version, the same results give the same file.
_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
}


def picture(figure: Figure, file_format: str = "png") -> bytes:
    """The figure as a file in one of the `FORMATS`; texts remain text in PDF and SVG."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({**_STYLE, "svg.fonttype": "none", "svg.hashsalt": "trivmap", "pdf.fonttype": 42}):
        figure.savefig(buffer, format=file_format, dpi=_DOTS_PER_INCH, metadata=_METADATA[file_format])
    return buffer.getvalue()
