"""Compares optimizers on the same maps: `python -m experiments.optimizers` writes optimizers.json in results/.

Four optimizers, three maps, the line xi = L/4 at L = 6, 8, 12, 16, from scratch: configurations and processor seconds
of the training steps (compilation and evaluation stay outside) to an acceptance of 0.7 and of 0.9, or what was reached
within a budget of processor seconds. The file is written after every entry, and entries that it holds are not
measured again:

    python -m experiments.optimizers                                        # what is missing
    python -m experiments.optimizers --only map=dense --only extent=8,16    # of that, a part
    python -m experiments.optimizers --only seed=1,2 --only extent=8 --seeds 3    # more seeds

The policy, the same at every L. Gauss-Newton: batches of 256, the library's own settings. Adam: b2 = 0.99, gradients
clipped at norm 10, 20 steps of warm-up, then a cosine; batch, peak and length in `ADAM` are of the map, not of L.
"""

import argparse
import sys
import time
from typing import Any

import jax

from experiments.ablations import BETA
from experiments.keeping import kept, store
from trivmap.cards.card import RunCard
from trivmap.runs.plan import Plan
from trivmap.training import Evaluation, Trainer
from trivmap.training.observer import NoObserver

COUPLINGS = {**BETA, 6: 0.537}
EXTENTS = (8, 6, 16, 12)
DENSE = {"kind": "affine", "couplings": 2, "network": {"kind": "dense", "hidden": ["1.0V"], "activation": "tanh"}}
CONVOLUTION = {"kind": "conv", "hidden": [8], "kernel": 3, "activation": "tanh"}
LOCAL = {"kind": "affine", "couplings": 4, "network": CONVOLUTION}
FREE_FIELD, RESCALE = {"kind": "free-field"}, {"kind": "rescale"}
MODELS: dict[str, dict[str, Any]] = {
    "continuous": {"base": FREE_FIELD, "maps": [{"kind": "continuous"}]},
    "local": {"base": FREE_FIELD, "maps": [LOCAL, RESCALE]},
    "dense": {"base": {"kind": "gaussian"}, "maps": [DENSE, DENSE, DENSE, RESCALE]},
}
ADAM = {"continuous": (64, 1e-2, 400), "local": (64, 1e-2, 1500), "dense": (256, 5e-3, 3000)}
"""Batch, peak of the learning rate, steps."""
OPTIMIZERS = ("gauss-newton", "gauss-newton kl", "adam path-gradient", "adam reverse-kl")
TARGETS = (0.7, 0.9)
BUDGET = {"continuous": 45.0, "local": 15.0, "dense": 12.0}
"""Processor seconds of training."""


class Judge(NoObserver):
    """Processor time of the steps, and what every evaluation found; interrupts when the budget is spent."""

    def __init__(self, budget: float):
        self.budget, self.seconds, self.configurations = budget, 0.0, 0
        self.trace: list[tuple[int, float, float, float]] = []
        self._mark = 0.0

    def begin(self) -> None:
        self._mark = time.process_time()

    def logged(self, record: dict[str, Any]) -> None:
        now = time.process_time()
        self.seconds, self._mark = self.seconds + now - self._mark, now
        self.configurations = record["configurations"]

    def evaluated(self, step: int, evaluation: Evaluation, seconds: float) -> None:
        self.trace.append((self.configurations, self.seconds, *evaluation.acceptance))
        self._mark = time.process_time()

    def interrupted(self) -> bool:
        self._mark = time.process_time()
        return self.seconds >= self.budget


def card(name: str, extent: int, optimizer: str, seed: int) -> RunCard:
    """The run card of an entry."""
    kind, _, objective = optimizer.partition(" ")
    if kind == "gauss-newton":
        settings: dict[str, Any] = {"kind": kind}
        minimized = {"": "variance", "kl": "path-gradient"}[objective]
        training: dict[str, Any] = {"steps": 400, "batch": 256, "optimizer": settings, "chunk": 1}
        training["objective"] = minimized
        every = 3
    else:
        batch, peak, steps = ADAM[name]
        rate = {"schedule": "cosine", "peak": peak, "warmup": 20}
        settings = {"kind": "adam", "b2": 0.99, "learning_rate": rate}
        training = {"steps": steps, "batch": batch, "optimizer": settings, "objective": objective, "clip": 10.0}
        every = {"continuous": 40, "local": 75, "dense": 150}[name]
        training["chunk"] = max(1, every // 5)
    training |= {"evaluate": {"every": every, "proposals": 4096}, "stop": {"acceptance": max(TARGETS)}}
    return RunCard.from_data(
        {
            "seed": seed,
            "lattice": [extent, extent],
            "action": {"kind": "phi4", "notation": "bosetti2015", "beta": COUPLINGS[extent], "lam": 0.5},
            "model": MODELS[name],
            "training": training,
        }
    )


def measured(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with what its training cost and reached."""
    plan = Plan(card(entry["map"], entry["extent"], entry["optimizer"], entry["seed"]))
    judge, action = Judge(BUDGET[entry["map"]]), plan.action
    trainer = Trainer(plan.flow(), action, plan.training, plan.keys["train"], judge)
    state = trainer.initial_state()
    trainer.compile(state)
    judge.begin()
    outcome = trainer.run(state)
    reached = {}
    for target in TARGETS:
        row = next((row for row in judge.trace if row[2] - row[3] > target), None)
        reached[str(target)] = row and {"configurations": row[0], "processor_seconds": row[1]}
    last = judge.trace[-1] if judge.trace else (judge.configurations, judge.seconds, None, None)
    return entry | {
        "parameters": trainer.flow(outcome.state).parameters,
        "status": outcome.status,
        "configurations": last[0],
        "processor_seconds": last[1],
        "acceptance": last[2],
        "acceptance_error": last[3],
        "reached": reached,
    }


def main() -> None:
    """Measure what is asked for and missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="KEY=VALUE,...")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    only = {key: values.split(",") for key, _, values in (text.partition("=") for text in arguments.only)}
    rows = (kept("optimizers") or {"rows": []})["rows"]
    identity = ("seed", "extent", "map", "optimizer")
    done = {tuple(row[key] for key in identity) for row in rows}
    for seed in range(arguments.seeds):
        for extent in EXTENTS:
            for name in MODELS:
                for optimizer in OPTIMIZERS:
                    entry = dict(zip(identity, (seed, extent, name, optimizer), strict=True))
                    if tuple(entry.values()) in done or any(str(entry[k]) not in v for k, v in only.items()):
                        continue
                    rows.append(measured(entry))
                    sys.stderr.write(f"{rows[-1]}\n")
                    store("optimizers", {"rows": rows})
                    jax.clear_caches()


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
