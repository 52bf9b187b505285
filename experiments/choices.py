"""Measures what docs/how-to/choosing.md says: `python -m experiments.choices [SEEDS]` writes choices.json in results/.

Every variant changes one thing of `reference`. Each is trained for the same number of steps and judged on 16384 fresh
proposals, over several seeds. Costs are processor time per step relative to the reference, compilation left out.
"""

import json
import sys
import time
from pathlib import Path

import jax

from trivmap.cards.card import RunCard
from trivmap.cards.overrides import apply_overrides
from trivmap.runs.plan import Plan
from trivmap.training import Trainer
from trivmap.training.observer import NoObserver

CONVOLUTION = {"kind": "conv", "hidden": [16], "kernel": 3, "activation": "tanh"}
REFERENCE = {
    "lattice": [8, 8],
    "action": {"kind": "phi4", "notation": "bosetti2015", "beta": 0.576, "lam": 0.5},
    "model": {
        "base": {"kind": "free-field"},
        "maps": [{"kind": "affine", "couplings": 4, "z2": True, "network": CONVOLUTION}],
    },
    "training": {
        "objective": "path-gradient",
        "steps": 500,
        "batch": 128,
        "optimizer": {"kind": "adam", "learning_rate": {"schedule": "cosine", "peak": 1e-2, "warmup": 50}},
        "evaluate": {"every": 100_000, "proposals": 16384},
    },
}
DENSE = "model.maps.0.network={kind: dense, hidden: [1.0V], activation: tanh}"
VARIANTS = {
    "reference": [],
    "Gaussian base": ["model.base={kind: gaussian}"],
    "free-field base, Hartree spectrum fixed": ["model.base.spectrum=fixed"],
    "no couplings": ["model.maps=[]"],
    "8 couplings": ["model.maps.0.couplings=8"],
    "additive couplings": ["model.maps.0.kind=additive"],
    "spline couplings": ["model.maps.0.kind=spline"],
    "dense networks": [DENSE],
    "dense networks, learning rate 3e-3": [DENSE, "training.optimizer.learning_rate.peak=3e-3"],
    "no Z2 symmetry": ["model.maps.0.z2=false"],
    "reverse KL": ["training.objective=reverse-kl"],
    "learning rate 1e-3": ["training.optimizer.learning_rate.peak=1e-3"],
    "learning rate 3e-3": ["training.optimizer.learning_rate.peak=3e-3"],
    "learning rate 3e-2": ["training.optimizer.learning_rate.peak=3e-2"],
    "Adam with b2 = 0.99": ["training.optimizer.b2=0.99"],
    "batch 512": ["training.batch=512"],
    "2000 steps": ["training.steps=2000"],
}


class Stopwatch(NoObserver):
    """Processor time between the first and the last logged chunk: compilation and evaluation stay outside."""

    def __init__(self):
        self.marks = []

    def logged(self, record):
        self.marks.append((record["step"], time.process_time()))

    @property
    def seconds_per_step(self):
        (first, begun), (last, ended) = self.marks[0], self.marks[-1]
        return (ended - begun) / (last - first)


def measure(overrides, seed):
    """Acceptance, parameters and seconds per step of the reference with `overrides`."""
    card = RunCard.from_data({**apply_overrides(REFERENCE, overrides), "seed": seed})
    plan, watch = Plan(card), Stopwatch()
    trainer = Trainer(plan.flow(), plan.action, plan.training, plan.keys["train"], watch)
    evaluation = trainer.run(trainer.initial_state()).evaluation
    return evaluation.acceptance, flow.parameters, watch.seconds_per_step


def main(seeds):
    """Measure every variant."""
    jax.config.update("jax_enable_x64", True)
    rows, target = [], Path(__file__).with_suffix(".json")
    for name, overrides in VARIANTS.items():
        outcomes = [measure(overrides, seed) for seed in range(seeds)]
        rows.append(
            {
                "variant": name,
                "set": overrides,
                "acceptance": [round(acceptance.value, 4) for acceptance, _, _ in outcomes],
                "error": round(max(acceptance.error for acceptance, _, _ in outcomes), 4),
                "parameters": outcomes[0][1],
                "seconds_per_step": min(seconds for _, _, seconds in outcomes),
            }
        )
        sys.stderr.write(f"{rows[-1]}\n")
    unit = rows[0]["seconds_per_step"]
    for row in rows:
        row["cost"] = float(f"{row.pop('seconds_per_step') / unit:.2g}")
    target.write_text(json.dumps({"reference": REFERENCE, "variants": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
