"""The tables of docs/explanation/scaling.md, from what scaling.py keeps."""

from collections.abc import Callable, Mapping
from functools import partial
from math import inf, isinf
from statistics import median
from typing import Any

from experiments.keeping import RESULTS, kept, markdown, not_measured
from trivmap.cards.presets import preset_names
from trivmap.reports.formats import count, duration, estimate_cell
from trivmap.reports.study import conditions, fit_rows
from trivmap.studies.scaling.card import PRESETS

STUDIES = [name for name in preset_names(PRESETS) if name != "quick-study"]
"""Those of the page."""


def costs(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Of every series and lattice: how many runs are complete and got there, and the medians of their costs."""
    targets = [f"{target:g}" for target in result["targets"]]
    header = ["series", "L", "parameters", "runs", *(f"configurations to {target}" for target in targets)]
    header += [f"wall to {targets[-2]}", "acceptance at the end", "largest pull"]
    rows = []
    for label, extent in dict.fromkeys((run["label"], run["extent"]) for run in result["runs"]):
        runs = [run for run in result["runs"] if (run["label"], run["extent"]) == (label, extent)]
        done = [run for run in runs if run["state"] == "complete"]
        if not done:
            continue
        cells = [label, str(extent), count(done[0]["parameters"]), f"{len(done)} of {len(runs)}"]
        budget = count(round(median(run["spent"]["configurations"] for run in done)))
        for target in targets:
            missed = sum(run["reached"][target] is None for run in done)
            middle = median(_to(target, "configurations", done))
            note = f" ({missed} not)" if missed else ""
            cells.append(f"not in {budget}" if isinf(middle) else f"{count(round(middle))}{note}")
        seconds = median(_to(targets[-2], "seconds", done))
        ends = [run["acceptance"]["value"] for run in done if run["acceptance"]]
        pulls = [pull for run in done for pull in run["pulls"].values()]
        cells.append("" if isinf(seconds) else duration(seconds))
        cells.append(", ".join(f"{value:.3f}" for value in ends))
        cells.append(f"{max(pulls, key=abs):+.1f} of {len(pulls)}" if pulls else "")
        rows.append(cells)
    return header, rows


def _to(target: str, cost: str, runs: list[Mapping[str, Any]]) -> list[float]:
    return [run["reached"][target][cost] if run["reached"][target] else inf for run in runs]


def study(name: str) -> str:
    """What a study says: costs, exponents, and how it was timed."""
    result = kept(f"study-{name}")
    if result is None:
        return not_measured(f"scaling {name}")
    parts = [markdown(*costs(result)), markdown(*fit_rows(result)), conditions(result)]
    return "\n\n".join(parts) + "\n"


def picture() -> str:
    """The cost to 0.7 of all that is measured."""
    if not (RESULTS / "scaling.png").exists():
        return not_measured("scaling")
    return "![Cost to an acceptance of 0.7 against L](../../experiments/results/scaling.png)\n"


def modes() -> str:
    """The divergence of every map, and what its two-point function would cost a Gaussian field."""
    result = kept("modes")
    if result is None:
        return not_measured("modes --in DIR")
    names = {
        "divergence": "KL",
        "two_point": "covariance",
        "spectrum": "spectrum",
        "infrared": "khat^2 < 1",
        "mean": "of |m|",
    }
    header = ["map", "L", "acceptance", *names.values(), "ratio at k = 0", "at (pi, pi)"]
    cells = []
    for row in result["rows"]:
        ratio = row["stages"][-1]["ratio"]
        costs = [estimate_cell(row[name]) for name in names]
        ends = [f"{value:.3f}" for value in (ratio[0], ratio[-1])]
        cells.append([row["label"], str(row["extent"]), f"{row['acceptance']:.3f}", *costs, *ends])
    picture = "![Spectra of the proposals over the exact ones](../../experiments/results/modes.png)"
    return f"{picture}\n\n{markdown(header, cells)}\n"


def tails() -> str:
    """Chains drawn on, and what their weights said before."""
    result = kept("tails")
    if result is None:
        return not_measured("tails --in DIR")
    header = ["sampler", "proposals", "susceptibility", "its tau_int", "ESS", "Pareto shape"]
    cells = []
    for row in result["rows"]:
        weights = [f"{row[name]:.2f}" if name in row else "" for name in ("ess", "pareto_shape")]
        found = row["susceptibility"]
        cells.append([row["name"], count(row["proposals"]), estimate_cell(found), f"{found['tau_int']:.2f}", *weights])
    cells.append(["reference of the pulls", "", estimate_cell(result["reference"]), "", "", ""])
    return markdown(header, cells) + "\n"


BLOCKS: Mapping[str, Callable[[], str]] = {
    "scaling-picture": picture,
    "scaling-modes": modes,
    "scaling-tails": tails,
    **{f"study-{name}": partial(study, name) for name in STUDIES},
}
