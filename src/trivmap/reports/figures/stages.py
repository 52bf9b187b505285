"""Where the map builds its correlations."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trivmap.observables.stages import StageSummary
from trivmap.reports.figures.style import REFERENCE, logarithmic, new_figure, plain_labels, styled, words


@styled
def stages_figure(stages: Sequence[StageSummary], distance: np.ndarray, *, target: Mapping | None = None) -> Figure:
    """Two-point function, correlation length, histograms of the field and of the magnetization, stage after stage.

    `distance` is |x| of every displacement orbit. Where no correlation length is to be seen a cross at 0 is drawn.
    `target` holds the exact sampler's `two_point`, `correlation_length` (value, error), `magnetization_edges`,
    `magnetization_density`, each of them optional; it is drawn in black.
    """
    target = target or {}
    figure = new_figure(8.6, 7.4)
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
    return figure


def _two_point(
    axes: Axes, stages: Sequence[StageSummary], distance: np.ndarray, colors: np.ndarray, target: Mapping
) -> None:
    logarithmic(axes)
    order = np.argsort(distance)
    for stage, color in zip(stages, colors, strict=True):
        value, error = np.array(stage.two_point, float)[order], np.array(stage.two_point_error, float)[order]
        # A base without correlations is compatible with zero beyond x = 0: no place on a logarithmic scale.
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
            axes.plot(index, 0, "x", color=color, markersize=7, markeredgewidth=2, clip_on=False)
            continue
        axes.errorbar(index, value, error, fmt="o", color=color, markersize=6, markeredgecolor="#444444", linewidth=1.5)
    if "correlation_length" in target:
        value, error = target["correlation_length"]
        axes.axhspan(value - error, value + error, color=REFERENCE, alpha=0.2, linewidth=0)
        axes.axhline(value, color=REFERENCE, linestyle=(0, (4, 2)), linewidth=1.2, label="chain")
        axes.legend(loc="lower right")
    names = [words(stage.name) for stage in stages]
    axes.set_xticks(range(len(stages)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_xlabel("after the stage")
    axes.set_ylabel(r"correlation length $\xi$")
    axes.set_xlim(-0.5, len(stages) - 0.5)
    axes.set_ylim(bottom=0)
