"""The table of the objectives, for the page docs/explanation/ablations.md."""

from collections.abc import Callable, Mapping

from experiments.keeping import kept, markdown, not_measured
from trivmap.reports.formats import count, parenthesis

SMALLEST = 1e-6
TITLES = {"broken": "8 x 8, beta = 0.75: the broken phase", "critical": "16 x 16, beta = 0.687: the critical point"}


def number(estimate: Mapping[str, float]) -> str:
    """A value with its error; of the smallest ones the size alone."""
    return parenthesis(*estimate.values()) if estimate["value"] > SMALLEST else f"< {SMALLEST:.6f}"


def objectives() -> str:
    """What each objective reached, at each point."""
    result = kept("objectives")
    if result is None:
        return not_measured("objectives")
    header = ["objective", "seed", "configurations", "processor seconds", "acceptance", "reverse ESS", "forward ESS"]
    parts = []
    for point, title in TITLES.items():
        rows = []
        for row in (row for row in result["rows"] if row["point"] == point):
            if "acceptance" in row:
                numbers = [number(row[name]) for name in ("acceptance", "reverse_ess", "forward_ess")]
            else:
                numbers = [row["message"].partition(" (")[0], "", ""]
            cells = [row["objective"], str(row["seed"]), count(row["configurations"])]
            rows.append([*cells, f"{row['processor_seconds']:.0f}", *numbers])
        parts.append(f"**{title}**\n\n{markdown(header, rows)}\n")
    return "\n".join(parts)


BLOCKS: Mapping[str, Callable[[], str]] = {"objectives": objectives}
