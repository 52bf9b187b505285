"""Samplers side by side: their speed and their total cost."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from trivmap.estimate import Estimate
from trivmap.reports.figures.style import REFERENCE, SERIES, new_figure, styled, words

_MARKERS = "osD^vPX*"


@styled
def rates_figure(observables: Mapping[str, str], rates: Mapping[str, Mapping[str, Estimate | None]]) -> Figure:
    """Independent samples per second, one row per observable, one marker per sampler.

    `observables`: labels by name. `rates`: by sampler and observable; None (not trusted) is left out.
    """
    figure = new_figure(6.8, 1.3 + 0.62 * len(observables))
    axes = figure.subplots()
    axes.set_xscale("log")
    offsets = np.linspace(-0.3, 0.3, len(rates)) if len(rates) > 1 else [0.0]
    for number, (sampler, known) in enumerate(rates.items()):
        shown = [(row, known.get(name)) for row, name in enumerate(observables)]
        points = [(row, rate) for row, rate in shown if rate is not None]
        axes.errorbar(
            [rate.value for _, rate in points],
            [row + offsets[number] for row, _ in points],
            xerr=[rate.error for _, rate in points],
            fmt=_MARKERS[number % len(_MARKERS)],
            color=SERIES[number % len(SERIES)],
            markersize=5.5,
            label=words(sampler) + ("" if points else " (not trusted)"),
        )
    for row in range(1, len(observables)):
        axes.axhline(row - 0.5, color="#d0d0d0", linewidth=0.7)
    axes.set_yticks(range(len(observables)), [words(name) for name in observables.values()])
    axes.set_ylim(len(observables) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("independent samples per second")
    figure.legend(loc="outside upper center", ncols=min(3, len(rates)))
    return figure


@styled
def break_even_figure(
    costs: Mapping[str, tuple[float, Estimate] | None], crossings: Sequence[tuple[float, float]]
) -> Figure:
    """Total seconds against the number of independent samples.

    `costs`: seconds before the first sample and seconds per sample, by sampler; None (not trusted) is left out.
    `crossings`: points (samples, seconds) at which a trained sampler breaks even.
    """
    figure = new_figure(6.8, 4.4)
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_yscale("log")
    last = max([1e6, *(10 * samples for samples, _ in crossings)])
    samples = np.geomspace(10, min(last, 1e12), 200)
    for number, (sampler, cost) in enumerate(costs.items()):
        if cost is None:
            continue
        (start, one), color = cost, SERIES[number % len(SERIES)]
        axes.plot(samples, start + samples * one.value, color=color, label=words(sampler))
        low, high = (start + samples * max(one.value + sign * one.error, 0) for sign in (-1, 1))
        axes.fill_between(samples, low, high, color=color, alpha=0.2, linewidth=0)
    for at, seconds in crossings:
        axes.plot(at, seconds, "o", color=REFERENCE, markerfacecolor="none", markersize=8, linestyle="")
    axes.set_xlim(samples[0], samples[-1])
    axes.set_xlabel(r"independent samples of $|m|$")
    axes.set_ylabel("seconds in all")
    figure.legend(loc="outside upper center", ncols=min(4, max(1, len(costs))))
    return figure
