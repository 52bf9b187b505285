"""Configurations before and after the map."""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from trivmap.reports.figures.style import CHAIN, NEW, PROPOSALS, Place, styled


@styled
def configurations_figure(base: np.ndarray, output: np.ndarray, place: Place = NEW) -> FigureBase:
    """Configurations phi(x) of shape (n, *lattice): those of the base above their images under the map.

    One dimension is drawn as lines, two as images, more as the slice x_3 = x_4 = ... = 0. All pictures share one color
    scale, symmetric about zero.
    """
    rows = [("base", base), ("output", output)]
    if output.ndim == 2:
        return _lines(rows, len(output), place)
    planes = [(name, fields.reshape(*fields.shape[:3], -1)[..., 0]) for name, fields in rows]
    limit = max(np.abs(fields).max() for _, fields in planes)
    figure = place.figure(8.6, 0.35 + 1.8 * len(rows))
    panels = figure.subplots(len(rows), len(output), squeeze=False)
    for panel_row, (name, fields) in zip(panels, planes, strict=True):
        for axes, field in zip(panel_row, fields, strict=True):
            # The array's first index is x_1, drawn horizontally from the left.
            axes.imshow(field.T, cmap="RdBu_r", vmin=-limit, vmax=limit, origin="lower", interpolation="nearest")
            axes.grid(visible=False)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[["top", "right"]].set_visible(True)
        panel_row[0].set_ylabel(rf"{name}, $x_2$")
    for axes in panels[-1]:
        axes.set_xlabel(r"$x_1$")
    figure.colorbar(
        ScalarMappable(Normalize(-limit, limit), "RdBu_r"), ax=panels, label=r"$\phi(x)$", shrink=0.9, aspect=25
    )
    return figure


def _lines(rows: list[tuple[str, np.ndarray]], number: int, place: Place) -> FigureBase:
    figure = place.figure(8.6, 0.6 + 2.0 * -(-number // 2))
    grid = figure.subplots(-(-number // 2), 2, sharex=True, sharey=True, squeeze=False)
    panels = grid.flat[:number]
    for index, axes in enumerate(panels):
        for (name, fields), color in zip(rows, (PROPOSALS, CHAIN), strict=True):
            axes.plot(fields[index], color=color, marker="o", markersize=3, linewidth=1, label=name)
        axes.axhline(0, color="#999999", linewidth=0.8, zorder=0)
    for axes in grid.flat[number:]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel(r"$\phi(x)$")
    for axes in grid[-1]:
        axes.set_xlabel(r"$x$")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    panels[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
