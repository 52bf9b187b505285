"""The tables of docs/explanation/trust.md, from what pulls.py, couplings.py and presets.py keep."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from experiments.keeping import kept, markdown, not_measured
from trivmap.reports.formats import count, parenthesis


def _table(name: str, header: list[str], rows: Callable[[Any], Iterator[list[str]]]) -> str:
    """The table of what the script of a name keeps."""
    content = kept(name)
    if not content:
        return not_measured(f"{name}")
    return markdown(header, list(rows(content))) + "\n"


def _pulls(content: Mapping[str, Any]) -> Iterator[list[str]]:
    """A line a sampler and length: the range of means and widths of all observables, and what is withheld."""
    for name, row in content.items():
        most = [pulls for pulls in row["pulls"].values() if pulls["printed"] >= row["runs"] / 2]
        means, widths = ([pulls[key] for pulls in most] for key in ("mean", "width"))
        reason, often = next(iter(row["withheld"].items()), ("", 0))
        yield [
            name,
            f"{row['acceptance']:.2f}",
            str(len(most)),
            f"{min(means):+.2f} ... {max(means):+.2f}" if most else "",
            f"{min(widths):.2f} ... {max(widths):.2f}" if most else "",
            f"{reason} ({often} of {row['runs']} runs)" if reason else "",
        ]


def _couplings(content: Mapping[str, Any]) -> Iterator[list[str]]:
    """A line a sweep and coupling: what the three seeds printed and withheld."""
    for name, sweep in content.items():
        for beta in dict.fromkeys(row["beta"] for row in sweep["rows"]):
            rows = [row for row in sweep["rows"] if row["beta"] == beta]
            printed = [row for row in rows if row.get("pulls")]
            pulls = [abs(pull) for row in printed for pull in row["pulls"].values()]
            yield [
                f"`{name}`" if name == sweep["preset"] else f"`{sweep['preset']}`, {sweep['title']}",
                f"{beta:g}",
                ", ".join(f"{row['acceptance']:.2f}" for row in rows if "acceptance" in row),
                f"{len(printed)} of {len(rows)}",
                f"{len(pulls)}, {max(pulls):.1f}" if pulls else "",
                ", ".join(parenthesis(*row["log_z"].values()) for row in printed if row["log_z"]),
                "; ".join(dict.fromkeys(_why(row) for row in rows if not row.get("pulls"))),
            ]


def _presets(content: Mapping[str, Any]) -> Iterator[list[str]]:
    """A line a preset: how many of its numbers a reference has, and the largest difference."""
    for name, row in content.items():
        pulls = [abs(pull) for pull in row["pulls"].values()]
        log_z = parenthesis(*row["log_z"].values()) if row["log_z"] else ""
        yield [
            f"`{name}`",
            count(row["proposals"]),
            f"{row['acceptance']:.2f}",
            f"{len(pulls)}, {max(pulls):.1f}" if pulls else "",
            log_z,
            ", ".join(row["withheld"]),
        ]


def _why(row: Mapping[str, Any]) -> str:
    reasons = [row["refused"]] if "refused" in row else row["withheld"]
    rules = {"the map misses": "probe", "the largest weights": "Pareto shape", "the weights": "weights"}
    return next((rule for start, rule in rules.items() for each in reasons if each.startswith(start)), str(reasons))


OF_PULLS = ["sampler", "acceptance", "observables printed", "means", "widths", "most frequent reason to withhold"]
OF_COUPLINGS = [
    "preset", "beta", "acceptance", "runs that print", "numbers, largest pull", "log Z", "withheld because"
]  # fmt: skip
OF_PRESETS = ["preset", "proposals", "acceptance", "numbers, largest pull", "log Z", "withheld"]
BLOCKS: Mapping[str, Callable[[], str]] = {
    "pulls": partial(_table, "pulls", OF_PULLS, _pulls),
    "couplings": partial(_table, "couplings", OF_COUPLINGS, _couplings),
    "presets-at-length": partial(_table, "presets", OF_PRESETS, _presets),
}
