"""The agreement of two determinations of the same number."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from trivmap.reports.figures.style import CHAIN, NEW, REFERENCE, REWEIGHTED, Place, styled, words


@styled
def consistency_figure(names: Sequence[str], pulls: Mapping[str, Sequence[float | None]], place: Place = NEW) -> Axes:
    """Differences in units of their error, one row per name; `pulls` maps a comparison to a number or None per name."""
    axes = place.axes(6.4, 1.2 + 0.3 * len(names))
    axes.axvspan(-1, 1, color="#d9d9d9", linewidth=0)
    axes.axvspan(-2, 2, color="#d9d9d9", alpha=0.4, linewidth=0)
    axes.axvline(0, color=REFERENCE, linewidth=0.8)
    position = np.arange(len(names))
    styles = ((REWEIGHTED, "s", 0.12), (CHAIN, "o", -0.12), (REFERENCE, "^", 0.0))
    for (label, values), (color, marker, shift) in zip(pulls.items(), styles, strict=False):
        known = np.array([np.nan if value is None else value for value in values], dtype=float)
        axes.plot(known, position + shift, marker, color=color, markersize=5, label=label)
    largest = max((abs(v) for values in pulls.values() for v in values if v is not None and np.isfinite(v)), default=0)
    limit = max(3.5, 1.1 * largest)
    axes.set_xlim(-limit, limit)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(position, [words(name) for name in names])
    axes.set_xlabel("difference / its standard error")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(pulls))
    return axes
