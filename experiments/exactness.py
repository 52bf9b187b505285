"""Every sampler against what is known otherwise: `python -m experiments.exactness [TARGET ...] [--in DIR]`.

Four targets: the free field (closed form), phi^4 in d=1 (transfer matrix), and the reference rows at L = 8 and 16.
Every sampler runs by a compare card until the error of its susceptibility is below half a percent. Writes
exactness.json in results/, target by target; a comparison found in DIR is continued.
"""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments.keeping import kept, named_runs, store
from experiments.ring import exact

jax.config.update("jax_enable_x64", True)

from trivmap.cards.card import load_card  # noqa: E402
from trivmap.reports.references import find_reference  # noqa: E402
from trivmap.studies.compare_card import CompareCard  # noqa: E402
from trivmap.studies.comparison import ComparisonDirectory, compare  # noqa: E402

OBSERVABLES = ("susceptibility", "abs_magnetization", "phi2", "ising_energy")
SAMPLERS: dict[str, dict[str, Any]] = {
    "flow": {"kind": "flow", "chains": 4},
    "hmc": {"kind": "hmc", "chains": 16},
    "hmc-fourier": {"kind": "hmc", "chains": 16, "fourier_mass": 0.25},
    "cluster": {"kind": "cluster", "chains": 2},
    "cluster-wolff": {"kind": "cluster", "algorithm": "wolff", "chains": 2},
    "trivialized-hmc": {"kind": "trivialized-hmc", "chains": 16, "warmup": 100},
    "annealed": {"kind": "annealed", "chains": 4},
}


class Target(NamedTuple):
    """A theory with a known answer, the preset whose map is trained on it, and how long each sampler runs."""

    title: str
    lattice: list[int]
    action: dict[str, Any]
    preset: str
    training_steps: int
    annealing_steps: int
    proposals: tuple[int, ...]
    """In the order of `SAMPLERS`."""


TARGETS = {
    "free-L8": Target(
        "Free field, L=8, m^2 = 0.25; exact",
        [8, 8],
        {"kind": "free", "m_sq": 0.25},
        preset="phi4-L8",
        training_steps=10,
        annealing_steps=10,
        proposals=(240_000, 2_400_000, 640_000, 1_000_000, 1_000_000, 320_000, 240_000),
    ),
    "ring-L16": Target(
        "phi^4 in d=1, L=16, beta = 1, lam = 0.5; transfer matrix",
        [16],
        {"kind": "phi4", "notation": "bosetti2015", "beta": 1.0, "lam": 0.5},
        preset="phi4-L8",
        training_steps=20,
        annealing_steps=20,
        proposals=(240_000, 3_200_000, 1_280_000, 400_000, 400_000, 320_000, 600_000),
    ),
    "phi4-L8": Target(
        "phi^4, L=8, beta = 0.576, lam = 0.5; reference row",
        [8, 8],
        {"kind": "phi4", "notation": "bosetti2015", "beta": 0.576, "lam": 0.5},
        preset="phi4-L8",
        training_steps=15,
        annealing_steps=40,
        proposals=(240_000, 2_400_000, 800_000, 600_000, 500_000, 160_000, 400_000),
    ),
    "phi4-L16": Target(
        "phi^4, L=16, beta = 0.634, lam = 0.5; reference row",
        [16, 16],
        {"kind": "phi4", "notation": "bosetti2015", "beta": 0.634, "lam": 0.5},
        preset="phi4-L16",
        training_steps=20,
        annealing_steps=200,
        proposals=(240_000, 6_400_000, 1_600_000, 600_000, 500_000, 128_000, 360_000),
    ),
}


def card(name: str) -> CompareCard:
    """The compare card of a target."""
    target, samplers = TARGETS[name], {}
    preset = load_card(target.preset).to_data()
    for (sampler, section), proposals in zip(SAMPLERS.items(), target.proposals, strict=True):
        entry: dict[str, Any] = {"sampling": section | {"proposals": proposals}}
        match sampler:
            case "flow":
                entry |= {"model": preset["model"], "training": preset["training"] | {"steps": target.training_steps}}
            case "trivialized-hmc":
                entry["map_of"] = "flow"
            case "annealed":
                entry["sampling"] |= {"steps": target.annealing_steps}
        samplers[sampler] = entry
    common = {"schema": 1, "name": name, "lattice": target.lattice, "action": target.action}
    return CompareCard.from_data(common | {"samplers": samplers})


def known(name: str) -> dict[str, dict[str, float]]:
    """Value and error of what is known otherwise."""
    written = card(name)
    run_card = written.cards["hmc"]
    action = {key: value for key, value in run_card.to_data()["action"].items() if value is not None}
    if len(written.lattice) == 1:
        found = exact(run_card)
        return {key: {"value": found[key], "error": 0.0} for key in (*OBSERVABLES, "log_z")}
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
        "title": TARGETS[name].title,
        "action": result["action"],
        "lattice": result["lattice"],
        "known": {key: exact[key] for key in (*OBSERVABLES, "log_z") if key in exact},
        "samplers": samplers,
    }


def main() -> None:
    """Run what is named, or everything, and keep what is there of the rest."""
    arguments = named_runs(__doc__, "TARGET").parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    for name in arguments.named or TARGETS:
        out = folder / name
        directory = ComparisonDirectory.open(out) if out.exists() else ComparisonDirectory.create(out, card(name))
        content = {name: judged(name, compare(directory))}
        content = (kept("exactness") or {}) | content
        store("exactness", {key: content[key] for key in TARGETS if key in content})


if __name__ == "__main__":
    main()
