"""The numbers in the figures of a scaling study."""

from collections.abc import Mapping
from typing import Any

from trivmap.studies.scaling.analysis import COSTS


def complete(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The runs of a study that are complete."""
    return [run for run in result["runs"] if run["state"] == "complete"]


def cost_columns(result: Mapping[str, Any], target: str) -> dict[str, list[Any]]:
    """A line for each complete run: the interval of each cost to a target, with an empty upper end if none is known."""
    runs = complete(result)
    columns: dict[str, list[Any]] = {"run": [run["name"] for run in runs], "series": [run["label"] for run in runs]}
    columns["L"] = [run["extent"] for run in runs]
    for cost in COSTS:
        reached = [run["reached"][target] for run in runs]
        columns[f"{cost}_above"] = [
            found["above"][cost] if found else run["spent"][cost] for run, found in zip(runs, reached, strict=True)
        ]
        columns[f"{cost}_at_most"] = [found[cost] if found else None for found in reached]
    return columns


def curve_columns(result: Mapping[str, Any]) -> dict[str, list[Any]]:
    """A line for each evaluation of a complete run."""
    points = [(run, point) for run in complete(result) for point in run["curve"]]
    return {
        "run": [run["name"] for run, _ in points],
        "L": [run["extent"] for run, _ in points],
        "configurations": [point["configurations"] for _, point in points],
        "acceptance": [point["acceptance"] for _, point in points],
    }


def quality_columns(result: Mapping[str, Any]) -> dict[str, list[Any]]:
    """A line for each complete run: its acceptance, tau_int and parameters."""
    runs = complete(result)
    columns: dict[str, list[Any]] = {"run": [run["name"] for run in runs], "L": [run["extent"] for run in runs]}
    for name in ("acceptance", "tau_int"):
        entries = [run[name] or {"value": None, "error": None} for run in runs]
        columns |= {name: [each["value"] for each in entries], f"{name}_error": [each["error"] for each in entries]}
    return {**columns, "parameters": [run["parameters"] for run in runs]}
