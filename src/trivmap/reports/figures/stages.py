"""The build-up of correlations along the map."""

import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from trivmap.observables.stages import StageSummary
from trivmap.reports.figures.style import NEW, REFERENCE, Place, logarithmic, plain_labels, styled, words

_MOST_NAMED = 15
"""Most stages that a legend names; for more stages there is a color bar."""


@styled
def stages_figure(
    stages: Sequence[StageSummary], distance: np.ndarray, *, target: Mapping | None = None, place: Place = NEW
) -> FigureBase:
    """Two-point function, correlation length, histograms of the field and of the magnetization, stage by stage.

    `distance` is |x| of every displacement orbit. A cross at the lower edge marks a stage without a correlation
    length. Each stage has one color in all panels, given by a legend or a color bar.
    `target` holds the exact sampler's `two_point`, `correlation_length` (value, error), `magnetization_edges`,
    `magnetization_density`, each of them optional; it is drawn in black.
    """
    target = target or {}
    figure = place.figure(8.6, 7.4)
    (correlation, length), (field, magnetization) = figure.subplots(2, 2)
    colors = matplotlib.colormaps["viridis_r"](np.linspace(0.08, 1.0, len(stages)))
    _two_point(correlation, stages, distance, colors, target)
    _correlation_length(length, stages, colors, target)
    for axes, label, histograms in (
        (field, r"$\phi(x)$", [stage.field for stage in stages]),
        (magnetization, r"$m$", [stage.magnetization for stage in stages]),
    ):
        for histogram, color in zip(histograms, colors, strict=True):
            density, edges = np.array(histogram.density, float), np.array(histogram.edges, float)
            axes.stairs(density, edges, color=color, linewidth=1.3)
        axes.set_xlabel(label)
        axes.set_ylabel("$P($" + label + "$)$")
        axes.set_ylim(bottom=0)
        axes.margins(x=0)
    if "magnetization_density" in target:
        magnetization.stairs(
            target["magnetization_density"], target["magnetization_edges"], color=REFERENCE, linestyle=(0, (4, 2)),
            linewidth=1.2, label="chain",
        )  # fmt: skip
        magnetization.legend(loc="upper right")
    _name_colors(figure, [correlation, length, field, magnetization], stages, colors)
    return figure


def _name_colors(
    figure: FigureBase, panels: Sequence[Axes], stages: Sequence[StageSummary], colors: np.ndarray
) -> None:
    if len(stages) <= _MOST_NAMED:
        handles = [
            Line2D([], [], color=color, linewidth=3, label=words(_label(number, stage.name)))
            for number, (stage, color) in enumerate(zip(stages, colors, strict=True))
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 5))
        return
    norm = BoundaryNorm(np.arange(len(stages) + 1) - 0.5, len(stages))
    bar = figure.colorbar(
        ScalarMappable(norm, ListedColormap(colors)), ax=panels, location="top", aspect=60, shrink=0.7,
        label="stage; 0 is the base",
    )  # fmt: skip
    bar.ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    bar.ax.minorticks_off()


def _label(number: int, name: str) -> str:
    """The label of a stage with its own number in place of the number of its map, which several stages may share."""
    return f"{number}: {re.sub(r'^[0-9]+ ', '', name)}" if number else name


def _two_point(
    axes: Axes, stages: Sequence[StageSummary], distance: np.ndarray, colors: np.ndarray, target: Mapping
) -> None:
    logarithmic(axes)
    order = np.argsort(distance)
    for stage, color in zip(stages, colors, strict=True):
        value, error = np.array(stage.two_point, float)[order], np.array(stage.two_point_error, float)[order]
        # Without correlations the base is compatible with zero beyond x = 0, which a logarithmic scale cannot show.
        shown = value > 2 * error
        axes.errorbar(
            distance[order][shown], value[shown], np.minimum(error, 0.999 * np.abs(value))[shown],
            color=color, marker="o", markersize=2.5, linewidth=1.2,
        )  # fmt: skip
    if "two_point" in target:
        axes.plot(
            distance[order], target["two_point"][order], color=REFERENCE, linestyle=(0, (4, 2)), linewidth=1.2,
            label="chain",
        )  # fmt: skip
        axes.legend(loc="upper right")
    plain_labels(axes)
    axes.set_xlabel(r"$|x|$")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(r"$G(x)=\langle\phi(y)\,\phi(y+x)\rangle$")


def _correlation_length(axes: Axes, stages: Sequence[StageSummary], colors: np.ndarray, target: Mapping) -> None:
    for index, (stage, color) in enumerate(zip(stages, colors, strict=True)):
        value, error = stage.correlation_length, stage.correlation_length_error
        if value is None or error is None:
            axes.plot(
                index, 0, "x", color=color, markersize=7, markeredgewidth=2, clip_on=False,
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip
            continue
        axes.errorbar(index, value, error, fmt="o", color=color, markersize=6, markeredgecolor="#444444", linewidth=1.5)
    if "correlation_length" in target:
        value, error = target["correlation_length"]
        axes.axhspan(value - error, value + error, color=REFERENCE, alpha=0.2, linewidth=0)
        axes.axhline(value, color=REFERENCE, linestyle=(0, (4, 2)), linewidth=1.2, label="chain")
        axes.legend(loc="lower right")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("after the stage")
    axes.set_ylabel(r"correlation length $\xi$")
    axes.set_xlim(-0.5, len(stages) - 0.5)
    axes.margins(y=0.12)
