"""How far printed numbers lie from exact ones, in their errors: `python -m experiments.pulls [ROW ...] --in DIR`.

Each row is one sampler at one length on a ring, where the transfer matrix gives every answer; a flow's map is trained
once. 400 runs differ by their seed alone and pass through everything that `trivmap run` does after training. Runs that
DIR holds are not repeated. Writes pulls.json in results/, row by row.
"""

import collections
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.keeping import kept, named_runs, store
from experiments.ring import exact
from trivmap.cards.card import RunCard, load_card
from trivmap.runs import pipeline
from trivmap.runs.sampling import sample
from trivmap.runs.train import train
from trivmap.store.directory import RunDirectory
from trivmap.store.files import write_json

RUNS = 400
HARTREE = {"base": {"kind": "free-field", "learnable": False}, "maps": []}
"""A Gaussian of the right two-point function: the stronger the coupling, the heavier the tail of its weights."""


def theory(extent: int, beta: float, lam: float) -> dict[str, Any]:
    """A card's lattice and action."""
    action = {"kind": "phi4", "notation": "bosetti2015", "beta": beta, "lam": lam}
    return {"schema": 1, "lattice": [extent], "action": action}


def continuous(chains: int, steps: int, **sampling: Any) -> dict[str, Any]:
    """The map of the quickstart after ten steps, acceptance 0.95."""
    card = load_card("quickstart").to_data()
    training = card["training"] | {"steps": 10, "batch": 128, "evaluate": {"every": 10, "proposals": 4096}}
    section = {"kind": "flow", "chains": chains, "proposals": chains * steps} | sampling
    stages = {"stages": {"proposals": 256}}
    return theory(12, 0.7, 0.8) | {"model": card["model"], "training": training, "sampling": section, "measure": stages}


def hartree(chains: int, steps: int, extent: int = 12, beta: float = 0.7, lam: float = 0.8) -> dict[str, Any]:
    """The Hartree base without a map."""
    section = {"kind": "flow", "chains": chains, "proposals": chains * steps}
    stages = {"stages": {"proposals": 256}}
    return theory(extent, beta, lam) | {"model": HARTREE, "sampling": section, "measure": stages}


def simulated(kind: str, chains: int, length: int, **sampling: Any) -> dict[str, Any]:
    """A sampler without a map."""
    return theory(12, 0.7, 0.8) | {
        "sampling": {"kind": kind, "chains": chains, "proposals": chains * length} | sampling
    }


ROWS: dict[str, dict[str, Any]] = {
    "continuous map, 4 x 2500": continuous(4, 2500),
    "continuous map, 4 x 250": continuous(4, 250),
    "continuous map, 40 x 250": continuous(40, 250),
    "continuous map, 1 x 10000": continuous(1, 10_000),
    "Hartree, 4 x 2500": hartree(4, 2500),
    "Hartree, 4 x 100000": hartree(4, 100_000),
    "Hartree at L = 16, beta = 1.1, lam = 1.2, 4 x 10000": hartree(4, 10_000, 16, 1.1, 1.2),
    "Hartree at lam = 0.4, 4 x 10000": hartree(4, 10_000, 12, 0.6, 0.4),
    "HMC, 4 x 1000": simulated("hmc", 4, 1000),
    "HMC, 4 x 250": simulated("hmc", 4, 250),
    "HMC, 16 x 250": simulated("hmc", 16, 250),
    "HMC, 1 x 4000": simulated("hmc", 1, 4000),
    "clusters, 4 x 250": simulated("cluster", 4, 250),
    "clusters, 4 x 60": simulated("cluster", 4, 60),
    "clusters, 1 x 2000": simulated("cluster", 1, 2000),
    "Wolff clusters, 4 x 1000": simulated("cluster", 4, 1000, algorithm="wolff"),
    "annealing, 4 x 1000": simulated("annealed", 4, 1000, steps=30),
    "trivialized HMC, 4 x 250": continuous(4, 250, kind="trivialized-hmc"),
}


def runs(name: str, folder: Path) -> list[dict[str, Any]]:
    """What every run of a row printed and withheld."""
    data, found = ROWS[name], []
    folder.mkdir(parents=True, exist_ok=True)
    card, model = RunCard.from_data(data), folder / "trained"
    if card.training is not None and not (model / "summary.json").exists():
        shutil.rmtree(model, ignore_errors=True)
        train(pipeline.create(card, model))
    for seed in range(1, RUNS + 1):
        path = folder / f"{seed}.json"
        if not path.exists():
            with tempfile.TemporaryDirectory() as scratch:
                run = pipeline.create(RunCard.from_data(data | {"seed": seed}), Path(scratch) / "run")
                if card.training is not None:
                    shutil.copytree(RunDirectory(model).model_path, run.model_path)
                sample(run)
                write_json(path, pipeline.measure(run))
        found.append(json.loads(path.read_text(encoding="utf-8")))
    return found


def judged(name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and width of the pulls of everything printed, how often it is, and why not."""
    known, pulls, reasons = exact(RunCard.from_data(ROWS[name])), collections.defaultdict(list), collections.Counter()
    for summary in found:
        printed = summary["observables"] | ({"log_z": summary["log_z"]} if summary["log_z"] else {})
        for key in known.keys() & printed.keys():
            pulls[key].append((printed[key]["value"] - known[key]) / printed[key]["error"])
        withheld = {key: text for key, text in summary["untrusted"].items() if key in known}
        # Numbers differ between runs; one reason may withhold many observables.
        reasons.update({re.sub(r"[+-]?\d[\d.e+-]*|nan", "#", text) for text in withheld.values()})
    return {
        "runs": len(found),
        "acceptance": float(np.mean([summary["sampling"]["acceptance"]["value"] for summary in found])),
        "pulls": {
            key: {"printed": len(pulls[key]), "mean": float(np.mean(pulls[key])), "width": float(np.std(pulls[key]))}
            for key in known
            if len(pulls[key]) > 1
        },
        "withheld": dict(reasons.most_common()),
    }


def main() -> None:
    """Run what is named, or everything, and keep what is there of the rest."""
    arguments = named_runs(__doc__, "ROW").parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    jax.config.update("jax_compilation_cache_dir", str(folder / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    for name in arguments.named or ROWS:
        content = (kept("pulls") or {}) | {name: judged(name, runs(name, folder / name.replace(" ", "")))}
        store("pulls", {key: content[key] for key in ROWS if key in content})


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
