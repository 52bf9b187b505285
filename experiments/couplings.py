"""Presets at couplings for which they were not made: `python -m experiments.couplings [SWEEP ...] [--in DIR]`.

Every preset runs at several beta and seeds, as a user would run it by `--set action.beta=...`, on both sides of order.
What a run prints is compared with clusters, what it withholds is counted with its reason. A run that DIR holds is not
repeated. Writes couplings.json in results/.
"""

import json
import math
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from experiments.keeping import kept, named_runs, store
from trivmap.cards.card import load_card

SEEDS = (1, 2, 3)
CLUSTERS = {"kind": "cluster", "chains": 4, "proposals": 1_000_000}


class Sweep(NamedTuple):
    """A preset, where it runs, and the couplings."""

    title: str
    preset: str
    lattice: list[int]
    betas: tuple[float, ...]


SQUARE = (0.60, 0.64, 0.66, 0.687, 0.70, 0.72, 0.75, 0.80)
SWEEPS = {
    "phi4-L8": Sweep("8x8", "phi4-L8", [8, 8], SQUARE),
    "quickstart": Sweep("8x8", "quickstart", [8, 8], SQUARE),
    "ring": Sweep("ring of 16", "phi4-L8", [16], (0.6, 1.0, 1.4, 2.0, 3.0)),
    "cube": Sweep("4x4x4", "phi4-L8", [4, 4, 4], (0.30, 0.36, 0.39, 0.42, 0.48)),
}


def command(preset: str, overrides: dict[str, Any], out: Path) -> dict[str, Any]:
    """The summary of `trivmap run PRESET --set ...`, and what the command said where it refused."""
    if not (out / "report.html").exists():
        sets = [part for key, value in overrides.items() for part in ("--set", f"{key}={json.dumps(value)}")]
        arguments = ["--resume", str(out)] if out.exists() else [preset, *sets, "--out", str(out)]
        line = [sys.executable, "-m", "trivmap", "run", *arguments]
        finished = subprocess.run(line, capture_output=True, text=True, check=False)
        if finished.returncode:
            return {"refused": finished.stderr.strip().splitlines()[-1]}
    return json.loads((out / "summary.json").read_text(encoding="utf-8"))


def clusters(sweep: Sweep, beta: float, folder: Path) -> dict[str, Any]:
    """What clusters say at one coupling."""
    action = load_card(sweep.preset).to_data()["action"] | {"beta": beta}
    card = {"schema": 1, "seed": 5, "lattice": sweep.lattice, "action": action, "sampling": CLUSTERS}
    path = folder / f"clusters-{len(sweep.lattice)}d-{beta}.json"
    path.write_text(json.dumps(card), encoding="utf-8")
    return command(str(path), {}, path.with_suffix(""))["observables"]


def judged(found: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """What a run printed, in errors from what is known, and what it withheld."""
    if "refused" in found:
        return found
    pulls = {}
    for name, each in found["observables"].items():
        if name in known:
            error = math.hypot(each["error"], known[name]["error"])
            pulls[name] = round((each["value"] - known[name]["value"]) / error, 2)
    sampling = found["sampling"]
    return {
        "acceptance": sampling["acceptance"]["value"],
        "ess": sampling["ess"],
        "pulls": pulls,
        "not_compared": sorted(set(found["observables"]) - set(known)),
        "log_z": found["log_z"],
        "withheld": sorted(set(found["untrusted"].values())),
        "chain_withheld": found["chain_withheld"],
    }


def run(task: tuple[str, float, int, Path]) -> dict[str, Any]:
    """One run beside clusters."""
    name, beta, seed, folder = task
    sweep = SWEEPS[name]
    overrides = {"lattice": sweep.lattice, "action.beta": beta, "seed": seed}
    found = command(sweep.preset, overrides, folder / f"{name}-{beta}-{seed}")
    return {"beta": beta, "seed": seed, **judged(found, clusters(sweep, beta, folder))}


def main() -> None:
    """Run what is named, or everything, and keep what is there of the rest."""
    arguments = named_runs(__doc__, "SWEEP").parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.named or SWEEPS:
        sweep = SWEEPS[name]
        for beta in sweep.betas:
            clusters(sweep, beta, folder)
        tasks = [(name, beta, seed, folder) for beta in sweep.betas for seed in SEEDS]
        with ThreadPoolExecutor(2) as pool:
            rows = list(pool.map(run, tasks))
        content = (kept("couplings") or {}) | {name: {"title": sweep.title, "preset": sweep.preset, "rows": rows}}
        store("couplings", {key: content[key] for key in SWEEPS if key in content})


if __name__ == "__main__":
    main()
