"""The figures are kept in experiments/results/benchmarks/NAME.json, with the machine and the versions measured."""

import json
import os
import platform
from collections.abc import Sequence
from typing import Any

from experiments.keeping import RESULTS
from trivmap.store.environment import package_version

FOLDER = RESULTS / "benchmarks"


def keep(name: str, packages: Sequence[str], figures: dict[str, Any], digits: int = 4) -> None:
    """Write NAME.json there, floating-point numbers to so many significant digits."""

    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: short(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [short(entry) for entry in value]
        return float(f"{value:.{digits}g}") if isinstance(value, float) else value

    content = {
        "machine": {"processor": platform.machine(), "processors": len(os.sched_getaffinity(0))},
        "versions": {package: package_version(package) for package in packages},
        **short(figures),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
