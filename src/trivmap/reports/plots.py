"""The figures of the report of a run, one function each."""

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from trivmap.errors import InputError
from trivmap.extras import require
from trivmap.reports.collect import PARTS, collect
from trivmap.reports.drawings import KEYS, Drawing
from trivmap.reports.report import rows_of
from trivmap.store.directory import RunDirectory
from trivmap.trust import trusting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_PART = {
    **dict.fromkeys(("consistency", "correlator", "effective_mass"), "observables"),
    **{name: name for name in ("training", "stages", "configurations")},
}
"""The part of a run that a figure shows, if not its samples."""


class Plots:
    """The figures of a run, in the look of its report; `run.plot` of a loaded run is one.

    A figure of one panel is drawn on the axes `ax`, one of several panels on `figure`, which may be a part of another
    figure (`Figure.subfigures`). Without them a new figure is made that a notebook and `pyplot.show` show. The axes
    that were drawn on are returned. Raises `InputError` where the run lacks what a figure shows, with the reason.

    >>> axes = run.plot.correlator()
    >>> axes.get_figure().savefig("correlator.pdf")

    Args:
        run_directory: the run.
        trust: run code that the run's card names, and use altered files.
    """

    def __init__(self, run_directory: str | os.PathLike[str], *, trust: bool = False):
        require("reports", "a plot")
        self._run, self._trust = RunDirectory.open(run_directory), trust

    def __repr__(self) -> str:
        """The run and the names of its figures."""
        return f"Plots({str(self._run.root)!r}): {', '.join(KEYS)}"

    def consistency(self, ax: "Axes | None" = None) -> "Axes":
        """The differences chain - reweighted and chain - reference of all observables, in standard errors."""
        return self._single("consistency", ax)

    def training(self, figure: "Figure | SubFigure | None" = None) -> "list[Axes]":
        """<log q + S>, ESS, acceptance and the schedules against the training step."""
        return self._several("training", figure)

    def log_weights(self, ax: "Axes | None" = None) -> "Axes":
        """The densities of log w - log Z, w = exp(-S)/q, over the proposals and over the target."""
        return self._single("log_weights", ax)

    def magnetization(self, ax: "Axes | None" = None) -> "Axes":
        """P(m), m = V^-1 sum_x phi(x), of the chain and of the reweighted proposals; of |m| where m is a vector."""
        return self._single("magnetization", ax)

    def magnetization_history(self, figure: "Figure | SubFigure | None" = None) -> "list[Axes]":
        """m against the step, one panel for each of at most four chains."""
        return self._several("magnetization_history", figure)

    def autocorrelation(self, ax: "Axes | None" = None) -> "Axes":
        """The normalized autocorrelation function rho(t) of |m|, t in configurations."""
        return self._single("autocorrelation", ax)

    def rejection_runs(self, ax: "Axes | None" = None) -> "Axes":
        """Numbers of runs of exactly n rejections in a row, and what a constant acceptance would give."""
        return self._single("rejection_runs", ax)

    def correlator(self, ax: "Axes | None" = None) -> "Axes":
        """C(t), t = 0 .. L/2, chain and reweighted, with the fit A cosh(m (t - L/2)) / cosh(m L/2)."""
        return self._single("correlator", ax)

    def effective_mass(self, ax: "Axes | None" = None) -> "Axes":
        """m(t) = arccosh((C(t-1) + C(t+1)) / 2 C(t)) and its plateau."""
        return self._single("effective_mass", ax)

    def stages(self, figure: "Figure | SubFigure | None" = None) -> "list[Axes]":
        """Two-point function, correlation length, P(phi(x)) and P(m) after every stage of the map."""
        return self._several("stages", figure)

    def configurations(self, figure: "Figure | SubFigure | None" = None) -> "list[Axes]":
        """Four configurations of the base and their images under the map."""
        return self._several("configurations", figure)

    def data(self, name: str) -> dict[str, np.ndarray]:
        """The numbers behind a figure, as in the CSV file beside it: columns of one length by name.

        Args:
            name: the name of the figure's method.
        """
        return {key: _column(values) for key, values in self._drawing(name).columns.items()}

    def _single(self, name: str, ax: "Axes | None") -> "Axes":
        from trivmap.reports.figures.style import Place

        drawn = self._drawing(name).draw(place=Place(ax, shown=True))
        return ax if ax is not None else drawn.axes[0]

    def _several(self, name: str, figure: "Figure | SubFigure | None") -> "list[Axes]":
        from trivmap.reports.figures.style import Place

        drawn = self._drawing(name).draw(place=Place(figure, shown=True))
        return list((figure or drawn).axes)

    def _drawing(self, name: str) -> Drawing:
        """The figure of this name; `configurations` alone needs the trained map, which takes long to load."""
        if name not in KEYS:
            raise InputError(f"name: {name!r} is no figure of a run; give one of {', '.join(KEYS)}")
        drawings, missing = self._configurations if name == "configurations" else self._measured
        if name not in drawings:
            reason = missing.get(_PART.get(name, "samples"), "this run has no such numbers")
            raise InputError(f"{self._run.root}: has no figure {name}: {reason}")
        return drawings[name]

    @cached_property
    def _measured(self) -> tuple[dict[str, Drawing], Mapping[str, str]]:
        return self._drawings([part for part in PARTS if part != "configurations"])

    @cached_property
    def _configurations(self) -> tuple[dict[str, Drawing], Mapping[str, str]]:
        return self._drawings(["configurations"])

    def _drawings(self, parts: Sequence[str]) -> tuple[dict[str, Drawing], Mapping[str, str]]:
        from trivmap.reports.pictures import drawings

        with trusting(self._trust):
            data = collect(self._run, parts)
            return {drawing.key: drawing for drawing in drawings(data, rows_of(data))}, data.missing


def _column(values: Any) -> np.ndarray:
    """A column with NaN where there is no number."""
    if isinstance(values, np.ndarray):
        return values
    return np.array([np.nan if value is None else value for value in values])
