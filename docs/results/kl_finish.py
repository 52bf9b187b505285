"""Do the optima of the variance and of the KL differ? `python docs/results/kl_finish.py 8 16` writes kl-finish.json.

The continuous flow, trained by Gauss-Newton on the variance for 20 steps, then from that same state for 8 more steps on
the variance, or for 8 on the KL, with the same noise: acceptance, ESS and loss on the same 16384 fresh proposals.
Arguments: the extents, or EXTENT,SEED; a row is kept as it ends, and those that the file holds are not measured again.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
from what_pays import card

from trivmap.runs.build import build_action, build_plan
from trivmap.runs.pipeline import keys, skeleton
from trivmap.training import Trainer
from trivmap.training.observer import Silent
from trivmap.training.state import TrainingState

TARGET = Path(__file__).with_name("kl-finish.json")
FIRST, MORE = 20, 8


class Halt(Silent):
    """Interrupts at a step."""

    def __init__(self, at: int):
        self.at, self.step = at, 0

    def logged(self, record: dict[str, Any]) -> None:
        self.step = record["step"]

    def interrupted(self) -> bool:
        return self.step >= self.at


def trainer(extent: int, seed: int, finish: int, at: int) -> Trainer:
    """Halts at step `at`; the last `finish` steps are on the KL."""
    changes = [f"training.steps={FIRST + MORE}", "training.evaluate={every: 1000, proposals: 16384}"]
    whole = card(extent, seed, [*changes, f"training.optimiser.finish={finish}"])
    return Trainer(skeleton(whole), build_action(whole), build_plan(whole), keys(whole)["train"], Halt(at))


def compared(extent: int, seed: int) -> list[dict[str, Any]]:
    """The three flows."""

    def row(steps: str, trainer: Trainer, state: TrainingState) -> dict[str, Any]:
        found = trainer.evaluate(state)._asdict()
        return {"extent": extent, "seed": seed, "steps": steps} | {k: found[k] for k in ("acceptance", "ess", "loss")}

    variance, kl = trainer(extent, seed, 0, FIRST), trainer(extent, seed, MORE, FIRST + MORE)
    middle = variance.run(variance.initial_state()).state
    rows = [row(f"{FIRST} on the variance", variance, middle)]
    variance.observer = Halt(FIRST + MORE)
    for name, each in (("variance", variance), ("KL", kl)):
        rows.append(row(f"and {MORE} on the {name}", each, each.run(middle).state))
    return rows


def main() -> None:
    """Measure what is asked for and missing."""
    rows = json.loads(TARGET.read_text(encoding="utf-8"))["rows"] if TARGET.exists() else []
    for argument in sys.argv[1:] or ["8", "16"]:
        extent, seed = (int(part) for part in f"{argument},0".split(",")[:2])
        if all((row["extent"], row["seed"]) != (extent, seed) for row in rows):
            rows += compared(extent, seed)
            TARGET.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")
            jax.clear_caches()


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
