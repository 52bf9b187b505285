"""The tables of docs/scaling.md, from what scaling.py keeps."""

from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

from keeping import HERE, kept, markdown

from trivmap.reports.formats import count, duration, estimate_cell
from trivmap.reports.study import conditions, fit_rows
from trivmap.runs.presets import preset_names
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
            reached = [run["reached"][target]["configurations"] for run in done if run["reached"][target]]
            missed = f" ({len(done) - len(reached)} not)" if len(reached) < len(done) else ""
            cells.append(f"{count(round(median(reached)))}{missed}" if reached else f"not in {budget}")
        seconds = [run["reached"][targets[-2]]["seconds"] for run in done if run["reached"][targets[-2]]]
        ends = [run["acceptance"]["value"] for run in done if run["acceptance"]]
        pulls = [pull for run in done for pull in run["pulls"].values()]
        cells.append(duration(median(seconds)) if seconds else "")
        cells.append(", ".join(f"{value:.3f}" for value in ends))
        cells.append(f"{max(pulls, key=abs):+.1f} of {len(pulls)}" if pulls else "")
        rows.append(cells)
    return header, rows


def study(name: str) -> str:
    """What a study says: costs, exponents, and how it was timed."""
    result = kept(f"study-{name}")
    if result is None:
        return f"Not measured yet; `python docs/results/scaling.py {name}` does it.\n"
    header, rows = fit_rows(result)
    fitted = [row for row in rows if row[header.index("L of the fit")] != "–"]
    parts = [markdown(*costs(result)), markdown(header, fitted), conditions(result)]
    return "\n\n".join(parts) + "\n"


def picture() -> str:
    """The cost to 0.7 of all that is measured."""
    if not (HERE / "scaling.png").exists():
        return "Not drawn yet; `python docs/results/scaling.py` does it.\n"
    return "![Cost to an acceptance of 0.7 against L](results/scaling.png)\n"


def modes() -> str:
    """The divergence of every map and how much of it is in the two-point function."""
    result = kept("modes")
    if result is None:
        return "Not measured yet; `python docs/results/modes.py --in DIR` does it.\n"
    cells = []
    for row in result["rows"]:
        ratio, whole, pairs = row["stages"][-1]["ratio"], row["divergence"], row["two_point"]
        infrared = sum(cost for cost, k in zip(row["gaussian"], row["momentum_squared"], strict=True) if k < 1)
        cells.append(
            [
                row["label"],
                str(row["extent"]),
                f"{row['acceptance']:.3f}",
                estimate_cell(whole),
                estimate_cell(pairs),
                f"{sum(row['gaussian']):.3f}",
                f"{infrared:.3f}",
                f"{ratio[0]:.3f}",
                f"{ratio[-1]:.3f}",
            ]
        )
    header = ["map", "L", "acceptance", "KL", "of the covariance", "of the spectrum", "of khat^2 < 1"]
    header += ["ratio at k = 0", "at (pi, pi)"]
    return f"![Spectra of the proposals over the exact ones](results/modes.png)\n\n{markdown(header, cells)}\n"


BLOCKS: Mapping[str, Callable[[], str]] = {
    "scaling-picture": picture,
    "scaling-modes": modes,
    **{f"study-{name}": partial(study, name) for name in STUDIES},
}
