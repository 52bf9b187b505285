"""The course of training: loss, quality of the map, and the schedules."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from trivmap.reports.figures.style import CHAIN, FIT, MARK, NEW, PROPOSALS, REWEIGHTED, Place, styled, words


@styled
def training_figure(
    log: Mapping[str, np.ndarray],
    evaluations: Mapping[str, np.ndarray] | None = None,
    milestones: Mapping[str, int] | None = None,
    place: Place = NEW,
) -> FigureBase:
    """Loss with its error band, ESS and acceptance, learning rate, damping and temperature against the training step.

    `log` holds arrays of equal length under `step`, `loss`, `loss_error`, `ess`, `acceptance`, `learning_rate`,
    `damping`, `temperature` (all but `step` may be missing; NaN where not logged). `evaluations` holds `step` and
    `acceptance`, `acceptance_error`, `ess`, `ess_error` from fresh batches. `milestones` maps a target acceptance to
    the step that reached it; the lines are drawn beside the acceptance. Rows without data are left out, as is the
    temperature if it is 1 throughout.
    """
    evaluations = evaluations or {}
    quality = any(_has(source, name) for source in (log, evaluations) for name in ("acceptance", "ess"))
    rows = [_loss] + [_quality] * quality
    schedules = (("learning_rate", _learning_rate), ("damping", _damping), ("temperature", _temperature))
    rows += [row for name, row in schedules if _has(log, name) and not _is_one(name, log)]
    heights = [1.5 if row in (_loss, _quality) else 1.0 for row in rows]
    figure = place.figure(6.4, 1.1 + 1.25 * sum(heights))
    panels = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=heights)
    for axes, row in zip(panels[:, 0], rows, strict=True):
        row(axes, log, evaluations)
        axes.margins(x=0.01)
    if quality:
        _mark_milestones(panels[:2, 0], milestones or {})
        panels[1, 0].legend(loc="lower right", ncols=2)
    panels[-1, 0].set_xlabel("training step")
    panels[-1, 0].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    figure.align_ylabels()
    return figure


def _has(log: Mapping[str, np.ndarray], name: str) -> bool:
    return name in log and bool(np.any(np.isfinite(log[name])))


def _is_one(name: str, log: Mapping[str, np.ndarray]) -> bool:
    return name == "temperature" and bool(np.all(log[name][np.isfinite(log[name])] == 1))


def _loss(axes: Axes, log: Mapping[str, np.ndarray], evaluations: Mapping[str, np.ndarray]) -> None:
    axes.set_ylabel(r"$\langle \log q + S \rangle$")
    if not _has(log, "loss"):
        return
    axes.plot(log["step"], log["loss"], color=CHAIN, label="loss")
    if _has(log, "loss_error"):
        low, high = log["loss"] - log["loss_error"], log["loss"] + log["loss_error"]
        axes.fill_between(log["step"], low, high, color=CHAIN, alpha=0.25, linewidth=0, label="its standard error")
    # The first steps would compress the rest of the curve: show the range of all but the worst tenth.
    finite = log["loss"][np.isfinite(log["loss"])]
    low, high = finite.min(), np.quantile(finite, 0.9)
    if high > low and finite.max() > high + 3 * (high - low):
        axes.set_ylim(low - 0.15 * (high - low), high + 0.6 * (high - low))
        axes.set_title("the first steps lie above the frame", fontsize=9, loc="left", color="#555555")
    axes.legend(loc="upper right")


def _quality(axes: Axes, log: Mapping[str, np.ndarray], evaluations: Mapping[str, np.ndarray]) -> None:
    axes.set_ylabel("ESS, acceptance")
    axes.set_ylim(0, 1.04)
    for name, label, color, marker in (("acceptance", "acceptance", CHAIN, "o"), ("ess", "ESS", REWEIGHTED, "s")):
        if _has(log, name):
            axes.plot(log["step"], log[name], color=color, alpha=0.35, linewidth=1, label=f"{label}, training batch")
        if _has(evaluations, name):
            axes.errorbar(
                evaluations["step"], evaluations[name], evaluations.get(f"{name}_error"), color=color, fmt=marker,
                markersize=3.5, linewidth=1, label=f"{label}, evaluation",
            )  # fmt: skip


def _learning_rate(axes: Axes, log: Mapping[str, np.ndarray], evaluations: Mapping[str, np.ndarray]) -> None:
    axes.set_ylabel(r"learning rate $\eta$")
    axes.plot(log["step"], log["learning_rate"], color=FIT)
    axes.set_ylim(bottom=0)


def _damping(axes: Axes, log: Mapping[str, np.ndarray], evaluations: Mapping[str, np.ndarray]) -> None:
    axes.set_ylabel(r"damping $\lambda$")
    axes.semilogy(log["step"], log["damping"], color=FIT)


def _temperature(axes: Axes, log: Mapping[str, np.ndarray], evaluations: Mapping[str, np.ndarray]) -> None:
    axes.set_ylabel(r"temperature $T$")
    axes.plot(log["step"], log["temperature"], color=PROPOSALS)
    low, high = np.nanmin(log["temperature"]), np.nanmax(log["temperature"])
    axes.set_ylim(min(low, 1) - 0.1 * max(high - low, 0.5), high + 0.1 * max(high - low, 0.5))


def _mark_milestones(panels: np.ndarray, milestones: Mapping[str, int]) -> None:
    low, high = panels[0].get_xlim()
    labels: list[tuple[int, str]] = []
    for target, step in sorted(milestones.items()):
        for axes in panels:
            axes.axvline(step, color=MARK, linewidth=1, linestyle=(0, (4, 2)))
        # Lines that are too close for two labels share one.
        if labels and step - labels[-1][0] < 0.1 * (high - low):
            labels[-1] = (labels[-1][0], f"{labels[-1][1]}, {target}")
        else:
            labels.append((step, f"> {target}"))
    for step, label in labels:
        panels[1].annotate(
            words(label), (step, 1.0), xycoords=("data", "axes fraction"), textcoords="offset points", xytext=(0, 2),
            color=MARK, fontsize=9, ha="left" if step < low + 0.05 * (high - low) else "center",
        )  # fmt: skip
