"""Every sampler against what is known otherwise: `python docs/results/exactness.py [TARGET ...] [--in DIR]`.

Four targets: the free field (closed form), phi^4 in d=1 (transfer matrix), and the reference rows at L = 8 and 16.
Every sampler runs by a compare card until the error of its susceptibility is below half a percent. Writes
exactness.json beside this file, target by target; a comparison found in DIR is gone on with.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # for the oracles of the tests

from tests.oracles import ChainOracle  # noqa: E402
from trivmap.reports.references import find_reference  # noqa: E402
from trivmap.runs.build import build_action  # noqa: E402
from trivmap.studies.compare_card import CompareCard  # noqa: E402
from trivmap.studies.comparison import ComparisonDirectory, compare  # noqa: E402

TARGET = Path(__file__).with_name("exactness.json")
OBSERVABLES = ("susceptibility", "abs_magnetization", "phi2", "ising_energy")
SAMPLERS: dict[str, dict[str, Any]] = {
    "flow": {"kind": "flow", "chains": 4},
    "hmc": {"kind": "hmc", "chains": 16},
    "hmc-fourier": {"kind": "hmc", "chains": 16, "fourier_mass": 0.25},
    "cluster": {"kind": "cluster", "chains": 2},
    "cluster-wolff": {"kind": "cluster", "algorithm": "wolff", "chains": 2},
    "trivialised-hmc": {"kind": "trivialised-hmc", "chains": 16, "warmup": 100},
    "annealed": {"kind": "annealed", "chains": 4},
}
TARGETS: dict[str, dict[str, Any]] = {
    "free-L8": {
        "lattice": [8, 8],
        "action": {"kind": "free", "m_sq": 0.25},
        "map": "phi4-L8",
        "training": {"steps": 10},
        "annealing": 10,
        "proposals": {
            "flow": 240_000,
            "hmc": 2_400_000,
            "hmc-fourier": 640_000,
            "cluster": 1_000_000,
            "cluster-wolff": 1_000_000,
            "trivialised-hmc": 320_000,
            "annealed": 240_000,
        },
    },
    "ring-L16": {
        "lattice": [16],
        "action": {"kind": "phi4", "notation": "bosetti2015", "beta": 1.0, "lam": 0.5},
        "map": "phi4-L8",
        "training": {"steps": 20},
        "annealing": 20,
        "proposals": {
            "flow": 240_000,
            "hmc": 3_200_000,
            "hmc-fourier": 1_280_000,
            "cluster": 400_000,
            "cluster-wolff": 400_000,
            "trivialised-hmc": 320_000,
            "annealed": 600_000,
        },
    },
    "phi4-L8": {
        "lattice": [8, 8],
        "action": {"kind": "phi4", "notation": "bosetti2015", "beta": 0.576, "lam": 0.5},
        "map": "phi4-L8",
        "training": {"steps": 15},
        "annealing": 40,
        "proposals": {
            "flow": 240_000,
            "hmc": 2_400_000,
            "hmc-fourier": 800_000,
            "cluster": 600_000,
            "cluster-wolff": 500_000,
            "trivialised-hmc": 160_000,
            "annealed": 400_000,
        },
    },
    "phi4-L16": {
        "lattice": [16, 16],
        "action": {"kind": "phi4", "notation": "bosetti2015", "beta": 0.634, "lam": 0.5},
        "map": "phi4-L16",
        "training": {"steps": 20},
        "annealing": 200,
        "proposals": {
            "flow": 240_000,
            "hmc": 6_400_000,
            "hmc-fourier": 1_600_000,
            "cluster": 600_000,
            "cluster-wolff": 500_000,
            "trivialised-hmc": 128_000,
            "annealed": 360_000,
        },
    },
}


def card(name: str) -> CompareCard:
    """The compare card of a target."""
    target, samplers = TARGETS[name], {}
    for sampler, section in SAMPLERS.items():
        entry: dict[str, Any] = {"sampling": section | {"proposals": target["proposals"][sampler]}}
        match sampler:
            case "flow":
                entry |= {"use": target["map"], "training": training(target)}
            case "trivialised-hmc":
                entry["map_of"] = "flow"
            case "annealed":
                entry["sampling"] |= {"steps": target["annealing"]}
        samplers[sampler] = entry
    common = {"schema": 1, "name": name, "lattice": target["lattice"], "action": target["action"]}
    return CompareCard.from_data(common | {"samplers": samplers})


def training(target: dict[str, Any]) -> dict[str, Any]:
    """That of the presets of the line."""
    return {
        **target["training"],
        "batch": 256,
        "optimiser": {"kind": "gauss-newton"},
        "evaluate": {"every": 5, "proposals": 4096},
    }


def known(name: str) -> dict[str, dict[str, float]]:
    """Value and error of what is known otherwise."""
    written = card(name)
    run_card = written.cards["hmc"]
    action = {key: value for key, value in run_card.to_data()["action"].items() if value is not None}
    coefficients = build_action(run_card).coefficients
    if len(written.lattice) == 1:
        (extent,) = written.lattice
        ring = ChainOracle(extent, *coefficients)
        found = {
            "susceptibility": extent * ring.magnetization_squared,
            "abs_magnetization": ring.abs_magnetization,
            "phi2": ring.phi2,
            "ising_energy": float(ring.two_point[1]),
            "log_z": ring.log_z,
        }
        return {key: {"value": value, "error": 0.0} for key, value in found.items()}
    reference = find_reference(action, written.lattice)
    assert reference is not None
    return {key: each._asdict() for key, each in reference.observables.items()}


def judged(name: str, result: dict[str, Any]) -> dict[str, Any]:
    """What every sampler gave beside what is known."""
    exact, samplers = known(name), {}
    for sampler, entry in result["samplers"].items():
        found = {key: entry["observables"][key] for key in OBSERVABLES}
        if entry["log_z"]:
            found["log_z"] = entry["log_z"]
        samplers[sampler] = {
            "steps": entry["steps"],
            "acceptance": entry["acceptance"],
            "observables": {key: {k: each.get(k) for k in ("value", "error")} for key, each in found.items()},
            "untrusted": entry["untrusted"],
        }
    return {
        "action": result["action"],
        "lattice": result["lattice"],
        "known": {key: exact[key] for key in (*OBSERVABLES, "log_z") if key in exact},
        "samplers": samplers,
    }


def main() -> None:
    """Run what is named, or everything, and keep what is there of the rest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--in", dest="folder", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    for name in arguments.targets or TARGETS:
        out = folder / name
        directory = ComparisonDirectory.open(out) if out.exists() else ComparisonDirectory.create(out, card(name))
        result = compare(directory)
        content = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
        content[name] = judged(name, result)
        kept = {key: content[key] for key in TARGETS if key in content}
        TARGET.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
