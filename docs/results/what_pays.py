"""Measures what docs/what-pays.md says: `python docs/results/what_pays.py` writes what-pays.json beside this file.

Two tables. `variants`: one thing of the recipe changed at a time, L=16 from scratch. `scaling`: the recipe unchanged,
from scratch and up a ladder, at L = 8 ... 32, until an evaluation shows 0.7; batches of 128, judged after every step.
Costs are configurations, smaller lattices included, and processor seconds of the steps: compilation and evaluation
stay outside. `python docs/results/what_pays.py variants` or `scaling` measures one table anew and keeps the other.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from trivmap.lattice import Lattice
from trivmap.runs.build import build_action, build_plan
from trivmap.runs.card import RunCard
from trivmap.runs.card_overrides import apply_overrides
from trivmap.runs.pipeline import keys, skeleton
from trivmap.training import Evaluation, Trainer
from trivmap.training.observer import Silent

TARGET = Path(__file__).with_name("what-pays.json")
BETA = {8: 0.576, 12: 0.616, 16: 0.634, 20: 0.645, 32: 0.6614}
TARGETS = (0.7, 0.9)
CONVOLUTION = "{kind: conv, hidden: [8], kernel: 3, activation: tanh}"
COUPLINGS = (
    f"model.maps=[{{kind: affine, couplings: 2, network: {CONVOLUTION}}}, "
    f"{{kind: spline, couplings: 2, network: {CONVOLUTION}}}, {{kind: rescale}}]"
)
ADAM = "training.optimiser={kind: adam, b2: 0.99, learning_rate: {schedule: cosine, peak: 1.0e-2, warmup: 20}}"
LONG = ["training.steps=400", "training.batch=64", "training.evaluate.every=20", "training.clip=10"]
VARIANTS = {
    "recipe": [],
    "no smeared features": ["model.maps.0.features.smeared=[]"],
    "smeared at one scale": ["model.maps.0.features.smeared=[{mass: 1.0, widths: [1.0, 2.0]}]"],
    "algebraic features": ["model.maps.0.features.family=algebraic"],
    "sine features": ["model.maps.0.features.family=sine"],
    "no tails, displacements up to 1": ["model.maps.0.kernel={radius: 1, masses: []}"],
    "no tails, displacements up to 4": ["model.maps.0.kernel={radius: 4, masses: []}"],
    "no tails, whole lattice": ["model.maps.0.kernel={radius: null, masses: []}"],
    "one time function": ["model.maps.0.times=1"],
    "five time functions": ["model.maps.0.times=5"],
    "no smoothness": ["model.maps.0.smoothness=0"],
    "rk3": ["model.maps.0.scheme=rk3"],
    "4 steps": ["model.maps.0.steps=4"],
    "no memory": ["training.optimiser.memory=0"],
    "no memory, batch 512": ["training.optimiser.memory=0", "training.batch=512", "training.steps=12"],
    "batch 128": ["training.batch=128", "training.steps=48"],
    "sample space": ["training.optimiser.space=samples"],
    "Adam, path gradient": [ADAM, *LONG],
    "Adam, reverse KL": [ADAM, *LONG, "training.objective=reverse-kl"],
    "couplings, gauss-newton": [COUPLINGS, "training.optimiser.space=parameters", "training.steps=40"],
    "couplings, Adam, path gradient": [COUPLINGS, ADAM, *LONG],
}
LADDERS = {8: [], 12: [8], 16: [8], 20: [8], 32: [8, 16]}


def card(extent: int, seed: int = 0, overrides: list[str] | None = None) -> RunCard:
    """The recipe on the xi = L/4 line."""
    data = {
        "seed": seed,
        "lattice": [extent, extent],
        "action": {"kind": "phi4", "notation": "bosetti2015", "beta": BETA[extent], "lam": 0.5},
        "model": {"base": {"kind": "free-field"}, "maps": [{"kind": "continuous"}]},
        "training": {
            "steps": 24,
            "batch": 256,
            "optimiser": {"kind": "gauss-newton"},
            "evaluate": {"every": 2, "proposals": 8192},
            "chunk": 1,
        },
    }
    return RunCard.from_data(apply_overrides(RunCard.from_data(data).to_data(), overrides or []))


class Judge(Silent):
    """Processor time of the steps, and what every evaluation of the last lattice found."""

    def __init__(self):
        self.seconds, self.configurations, self.before = 0.0, 0, 0
        self.trace: list[tuple[int, float, float, float]] = []
        self._mark = 0.0

    def begin(self, seconds: float) -> None:
        self.before, self._mark, self.trace = self.configurations, seconds, []

    def logged(self, record: dict[str, Any]) -> None:
        now = time.process_time()
        self.seconds, self._mark = self.seconds + now - self._mark, now
        self.configurations = self.before + record["configurations"]

    def evaluated(self, step: int, evaluation: Evaluation, seconds: float) -> None:
        self.trace.append((self.configurations, self.seconds, *evaluation.acceptance))
        self._mark = time.process_time()

    def interrupted(self) -> bool:
        self._mark = time.process_time()
        return False


def measured(whole: RunCard) -> dict[str, Any]:
    """Cost to the targets on the last lattice, and the acceptance at the end."""
    judge, trainer, outcome = Judge(), None, None
    for rung in whole.rungs():
        action = build_action(rung)
        flow = skeleton(rung)
        if trainer is not None and outcome is not None:
            flow = trainer.flow(outcome.state).resize(Lattice(rung.lattice), action)
        trainer = Trainer(flow, action, build_plan(rung), keys(rung)["train"], judge)
        state = trainer.initial_state()
        trainer.compile(state)
        judge.begin(time.process_time())
        outcome = trainer.run(state)
    assert trainer is not None and outcome is not None
    reached = {}
    for target in TARGETS:
        entry = next((row for row in judge.trace if row[2] - row[3] > target), None)
        reached[str(target)] = entry and {"configurations": entry[0], "processor_seconds": entry[1]}
    last = judge.trace[-1] if judge.trace else (judge.configurations, judge.seconds, float("nan"), float("nan"))
    return {
        "parameters": trainer.flow(outcome.state).parameters,
        "status": outcome.status,
        "configurations": judge.configurations,
        "processor_seconds": judge.seconds,
        "acceptance": last[2],
        "acceptance_error": last[3],
        "reached": reached,
    }


def variants() -> Iterator[list[dict[str, Any]]]:
    """Every variant at L=16, from scratch; the table so far after each."""
    rows = []
    for name, overrides in VARIANTS.items():
        rows.append({"variant": name, **measured(card(16, overrides=overrides))})
        sys.stderr.write(f"{name}: {rows[-1]}\n")
        jax.clear_caches()
        yield rows


def scaling() -> Iterator[dict[str, Any]]:
    """Cost to 0.7 against L, three seeds each."""
    rows = []
    for extent, ladder in LADDERS.items():
        for kind in ("scratch", "ladder") if ladder else ("scratch",):
            for seed in range(3):
                changes = ["training.batch=128", "training.evaluate={every: 1, proposals: 4096}", "training.steps=60"]
                changes += ["training.stop={acceptance: 0.7}"]
                if kind == "ladder":
                    rungs = [
                        f"{{lattice: [{rung}, {rung}], action: {{beta: {BETA[rung]}}}, steps: {8 if rung == 8 else 4}, "
                        f"optimiser: {{kind: gauss-newton, damping: {0.3 if rung == 8 else 0.01}}}}}"
                        for rung in ladder
                    ]
                    changes += [f"training.ladder=[{', '.join(rungs)}]", "training.optimiser.damping=0.01"]
                row = {"extent": extent, "kind": kind, "seed": seed, **measured(card(extent, seed, changes))}
                rows.append(row)
                yield {"rows": rows, "exponents": exponents(rows)}
                sys.stderr.write(f"{extent} {kind} {seed}: {row['configurations']} {row['acceptance']:.3f}\n")
                jax.clear_caches()


def exponents(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """z of cost ~ L^z by a straight line through the logarithms; runs short of the target are left out, and counted."""
    result = {}
    for kind in ("scratch", "ladder"):
        for cost in ("configurations", "processor_seconds"):
            points = [
                (np.log(row["extent"]), np.log(row["reached"]["0.7"][cost]))
                for row in rows
                if row["kind"] in (kind, "scratch" if row["extent"] == 8 else kind) and row["reached"]["0.7"]
            ]
            if len(points) < 4:
                continue
            x, y = np.array(points).T
            (z, _), covariance = np.polyfit(x, y, 1, cov=True)
            result[f"{kind} {cost}"] = {
                "value": float(z),
                "error": float(np.sqrt(covariance[0, 0])),
                "runs": len(points),
            }
    return result


def main() -> None:
    """Measure what is asked for."""
    content = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
    wanted = sys.argv[1:] or ["scaling", "variants"]
    for name in wanted:
        for table in {"variants": variants, "scaling": scaling}[name]():
            content[name] = table
            TARGET.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
