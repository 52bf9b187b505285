"""The figures of a scaling study: the growth of costs with the lattice."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from trivmap.reports.figures.style import SERIES, empty_panel, new_figure, plain_labels, styled
from trivmap.reports.study_columns import complete

_MARKERS = "osDpXP*h"


class _Look(NamedTuple):
    """The style of a series: its markers and its lines."""

    color: str
    marker: str
    line: Literal["-", "--", ":"]


def _look(number: int) -> _Look:
    """A look that differs for 24 series: each cycle through the colors shifts the markers and changes the lines."""
    turn, position = divmod(number, len(SERIES))
    return _Look(SERIES[position], _MARKERS[(position + turn) % len(_MARKERS)], ("-", "--", ":")[turn % 3])


@styled
def cost_figure(result: Mapping[str, Any], target: str, costs: Sequence[str]) -> Figure:
    """Cost to a target acceptance against L, one panel per cost: every seed, and the fitted power law.

    A bar is the interval between two evaluations in which a run reached the target. Its marker is the middle, which is
    the fitted value. For a run that never reached the target, an arrow begins at the cost that was spent: the cost to
    the target is larger by an unknown amount.
    """
    figure = new_figure(3.6 * len(costs), 4.2)
    panels = np.atleast_1d(figure.subplots(1, len(costs)))
    labels = _labels(result)
    for axes, cost in zip(panels, costs, strict=True):
        axes.set_xscale("log")
        axes.set_yscale("log")
        for number, label in enumerate(labels):
            color, marker, line = _look(number)
            own = [run for run in complete(result) if run["label"] == label]
            nudge = 1 + min(0.012, 0.06 / len(labels)) * (number - (len(labels) - 1) / 2)
            reached = [(run["extent"] * nudge, run["reached"][target]) for run in own if run["reached"][target]]
            x = [at for at, _ in reached]
            low, high = (np.array(list(bounds)) for bounds in _bounds([found for _, found in reached], cost))
            middle = np.sqrt(low * high)
            axes.errorbar(
                x, middle, [middle - low, high - middle], fmt=marker, color=color, markersize=5, alpha=0.85,
                linewidth=1, capsize=0,
            )  # fmt: skip
            for run in own:
                if not run["reached"][target]:
                    _arrow(axes, run["extent"] * nudge, run["spent"][cost], color)
            for fit in result["fits"]:
                if (fit["label"], fit["target"], fit["cost"]) == (label, target, cost) and fit.get("exponent"):
                    x = np.array([fit["extents"][0], fit["extents"][-1]], float)
                    z = fit["exponent"]["value"]
                    axes.plot(x * nudge, fit["amplitude"] * x**z, line, color=color, linewidth=1.2)
        axes.set_xlabel("L")
        axes.set_ylabel(f"{cost} to {target}")
        plain_labels(axes)
        _extent_ticks(axes, result)
    _legend(figure, labels)
    return figure


def _bounds(reached: Sequence[Mapping[str, Any]], cost: str) -> tuple[list[float], list[float]]:
    """The ends of the intervals in which the target was reached."""
    return [found["above"][cost] for found in reached], [found[cost] for found in reached]


def _arrow(axes: Axes, at: float, spent: float, color: str) -> None:
    """An upward arrow: the cost is larger than `spent`."""
    axes.plot([at], [spent], "_", color=color, markersize=7, alpha=0.6)
    axes.annotate(
        "", (at, spent), xytext=(0, 16), textcoords="offset points",
        arrowprops={"arrowstyle": "<|-", "color": color, "alpha": 0.6, "linewidth": 1, "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip


@styled
def acceptance_figure(result: Mapping[str, Any]) -> Figure:
    """Acceptance against the configurations spent, one panel per lattice, one line per run."""
    extents = sorted({run["extent"] for run in complete(result)})
    columns = min(4, max(1, len(extents)))
    rows = -(-max(1, len(extents)) // columns)
    figure = new_figure(max(5.0, 2.7 * columns), 0.8 + 2.5 * rows)
    panels = np.atleast_1d(figure.subplots(rows, columns, sharey=True)).ravel()
    labels = _labels(result)
    for axes, extent in zip(panels, extents, strict=False):
        axes.set_xscale("log")
        axes.set_title(f"L = {extent}")
        for run in complete(result):
            if run["extent"] == extent:
                points = [(p["configurations"], p["acceptance"]) for p in run["curve"] if p["acceptance"] is not None]
                look = _look(labels.index(run["label"]))
                curve = np.array(points).reshape(-1, 2).T
                axes.plot(*curve, marker=".", linestyle=look.line, color=look.color, markersize=3, linewidth=1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("configurations")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    for axes in panels[len(extents) :]:
        axes.set_visible(False)
    for row in range(rows):
        panels[row * columns].set_ylabel("acceptance")
    _legend(figure, labels)
    return figure


@styled
def quality_figure(result: Mapping[str, Any]) -> Figure:
    """tau_int of the chain's rejections against acceptance, and the number of parameters against L."""
    figure = new_figure(8.0, 4.0)
    left, right = figure.subplots(1, 2)
    labels = _labels(result)
    drawn = False
    for number, label in enumerate(labels):
        color, marker, line = _look(number)
        own = [run for run in complete(result) if run["label"] == label]
        timed = [
            (run["acceptance"]["value"], run["tau_int"]["value"])
            for run in own
            if run["acceptance"]
            and run["tau_int"]
            and None not in (run["acceptance"]["value"], run["tau_int"]["value"])
        ]
        drawn = drawn or bool(timed)
        left.plot(*np.array(timed).reshape(-1, 2).T, marker, color=color, markersize=5, alpha=0.85)
        sized = sorted({(run["extent"], run["parameters"]) for run in own})
        right.plot(*np.array(sized, float).reshape(-1, 2).T, marker + line, color=color, markersize=5, linewidth=1)
    left.set_yscale("log")
    left.set_xlabel("acceptance")
    left.set_ylabel(r"$\tau_\mathrm{int}$ of the rejections")
    if drawn:
        plain_labels(left)
    else:
        empty_panel(left, "no run has both")
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xlabel("L")
    right.set_ylabel("parameters")
    plain_labels(right)
    _extent_ticks(right, result)
    _legend(figure, labels)
    return figure


def _labels(result: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(run["label"] for run in result["runs"]))


def _extent_ticks(axes: Axes, result: Mapping[str, Any]) -> None:
    """The lattices of the study as labels, without those that would touch their neighbors."""
    extents = sorted({run["extent"] for run in result["runs"]})
    shown: list[int] = []
    for extent in extents:
        if not shown or extent / shown[-1] > 1.17:
            shown.append(extent)
    axes.set_xticks(shown, [str(extent) for extent in shown])
    axes.set_xticks([], minor=True)
    if len(extents) > 1:
        axes.set_xlim(extents[0] / 1.15, extents[-1] * 1.15)


def _legend(figure: Figure, labels: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=look.color, marker=look.marker, linestyle=look.line, label=label)
        for look, label in zip(map(_look, range(len(labels))), labels, strict=True)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2 if len(labels) > 1 else 1, handlelength=3.5)
