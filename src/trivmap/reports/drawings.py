"""A figure with what a page, a file and a reader need of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from trivmap.reports.formats import csv_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEYS = (
    "consistency", "training", "log_weights", "magnetization", "magnetization_history", "autocorrelation",
    "rejection_runs", "correlator", "effective_mass", "stages", "configurations",
)  # fmt: skip
"""The figures that the report of a run can have."""
FORMATS = ("png", "pdf", "svg")
"""The formats of a figure's file."""


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn.

    `key` names its files and its method of `run.plot`; `alt` says in words what is seen, for those who do not see it.
    `columns` are the numbers behind the figure, by name and of one length. `draw` takes `place=` where it is not to
    make a new figure. `wide` figures take the full width of a page.
    """

    key: str
    section: str
    title: str
    caption: str
    alt: str
    draw: Callable[..., "Figure"] = field(compare=False)
    columns: Mapping[str, Sequence[Any] | np.ndarray] = field(compare=False)
    wide: bool = False

    @cached_property
    def png(self) -> bytes:
        """The figure as a PNG picture."""
        return self.file("png")

    def file(self, file_format: str) -> bytes:
        """The figure as a file, drawn again for each: a canvas that has been saved as PDF has other sizes of text."""
        from trivmap.reports.figures.style import picture

        return picture(self.draw(), file_format)

    @property
    def table(self) -> str:
        """The `columns` as CSV; NaN and None leave their cells empty."""
        rows = zip(*(map(_cell, column) for column in self.columns.values()), strict=True)
        return csv_text(list(self.columns), rows)


def _cell(value: Any) -> Any:
    """A number with the digits that make it the same float64 again."""
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return ""
    return value.item() if isinstance(value, np.generic) else value


def joined(*parts: Mapping[str, Sequence[Any] | np.ndarray]) -> dict[str, list[Any]]:
    """Tables one below the other; a column that a part lacks is empty there."""
    names = dict.fromkeys(name for part in parts for name in part)
    found: dict[str, list[Any]] = {name: [] for name in names}
    for part in parts:
        length = len(next(iter(part.values()), ()))
        for name in names:
            found[name] += list(part[name]) if name in part else [None] * length
    return found
