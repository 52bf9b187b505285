"""Measures what the page ablations says: `python -m experiments.ablations` writes ablations.json in results/.

Two tables. `variants`: one thing of the recipe changed at a time, at L=16 and for some L=20, from scratch, all with the
same number of configurations; what is already measured stays. `scaling`: the presets' map of the even sites, from
scratch and up a ladder, at L = 8 ... 32, until an evaluation shows 0.7; batches of 128. Costs are configurations,
smaller lattices included, floating-point operations of the steps, and their processor seconds: compilation and
evaluation stay outside. A machine's pace changes with what else runs on it. A step of the recipe is therefore timed
before and after every variant, and a variant's seconds are given in units of that step.
`python -m experiments.ablations variants` or `scaling` measures one table and keeps the other; `variants NAME ...`
only those variants.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from math import erfc, sqrt
from typing import Any

import jax
import numpy as np

from experiments.keeping import kept, store
from trivmap.cards.card import RunCard
from trivmap.cards.overrides import apply_overrides
from trivmap.diagnostics import certificate
from trivmap.runs.plan import Plan
from trivmap.training import Trainer
from trivmap.training.observer import NoObserver

BETA = {8: 0.576, 12: 0.616, 16: 0.634, 20: 0.645, 32: 0.6614}
GOAL = 0.7
SEEDS = {"recipe": 3}
"""Those of a variant are 0 and 1 unless it says otherwise here."""
CONVOLUTION = "{kind: conv, hidden: [8], kernel: 3, activation: tanh}"
COUPLINGS = (
    f"model.maps=[{{kind: affine, couplings: 4, network: {CONVOLUTION}}}, "
    f"{{kind: spline, couplings: 2, network: {CONVOLUTION}}}, {{kind: rescale}}]"
)
ADAM = "training.optimizer={kind: adam, b2: 0.99, learning_rate: {schedule: cosine, peak: 1.0e-2, warmup: 10}}"
WIDE = "model.maps.0.features.smeared=[{mass: 0.5, widths: [1.5, 3.0]}]"
EVEN = ["model.sites=even", "model.maps.0.kernel.radius=2", "model.maps.0.features.neighbors=[1.0, 2.0]"]
SMALL = ["training.steps=160", "training.batch=32", "training.clip=10", "training.chunk=10"]
VARIANTS = {
    "recipe": [],
    "mean of the neighbors": ["model.maps.0.features.neighbors=[1.0, 2.0]", WIDE],
    "even sites": ["model.sites=even", "model.maps.0.kernel.radius=2"],
    "even sites, mean of the neighbors": [*EVEN, WIDE],
    "even sites, mean of the neighbors, more features": [
        *EVEN,
        "model.maps.0.features.neighbors=[1.0, 2.0, 4.0]",
    ],
    "batch 64": ["training.batch=64", "training.steps=80"],
    "batch 128": ["training.batch=128", "training.steps=40"],
    "batch 512": ["training.batch=512", "training.steps=10"],
    "batch 64, 128, 256, 512": [
        "training.batch=[{steps: 8, batch: 64}, {steps: 8, batch: 128}, {steps: 8, batch: 256}, "
        "{steps: 3, batch: 512}]",
        "training.steps=27",
    ],
    "4 solver steps": ["model.maps.0.steps=4"],
    "3 solver steps": ["model.maps.0.steps=3"],
    "rk3, 6 solver steps": ["model.maps.0.scheme=rk3"],
    "rk3, 8 solver steps": ["model.maps.0.scheme=rk3", "model.maps.0.steps=8"],
    "no smeared features": ["model.maps.0.features.smeared=[]"],
    "smeared at one scale": ["model.maps.0.features.smeared=[{mass: 1.0, widths: [1.0, 2.0]}]"],
    "smeared at masses 2 and 0.5": [
        "model.maps.0.features.smeared=[{mass: 2.0, widths: [1.0, 2.0]}, {mass: 0.5, widths: [1.5, 3.0]}]"
    ],
    "no tails, displacements up to 1": ["model.maps.0.kernel={radius: 1, masses: []}"],
    "no tails, displacements up to 4": ["model.maps.0.kernel={radius: 4, masses: []}"],
    "tails, displacements up to 3": ["model.maps.0.kernel.radius=3"],
    "one time function": ["model.maps.0.times=1"],
    "five time functions": ["model.maps.0.times=5"],
    "average of the weights, decay 0.7": ["training.ema=0.7"],
    "no memory": ["training.optimizer.memory=0"],
    "no smoothness": ["model.maps.0.smoothness=0"],
    "couplings and splines, gauss-newton": [COUPLINGS, "training.optimizer.space=samples"],
    "couplings and splines, Adam, path gradient": [COUPLINGS, ADAM, *SMALL],
    "Adam, path gradient": [ADAM, *SMALL],
    "sample space": ["training.optimizer.space=samples"],
    "algebraic features": ["model.maps.0.features.family=algebraic"],
    "sine features": ["model.maps.0.features.family=sine"],
}
LARGER = (
    "recipe",
    "mean of the neighbors",
    "even sites, mean of the neighbors",
    "batch 128",
    "batch 64, 128, 256, 512",
    "4 solver steps",
    "no smeared features",
    "couplings and splines, Adam, path gradient",
    "average of the weights, decay 0.7",
)
"""Those measured at L=20 too."""
LADDERS = {8: [], 12: [8], 16: [8], 20: [8], 32: [8, 16]}


def card(extent: int, seed: int = 0, overrides: list[str] | None = None) -> RunCard:
    """The recipe on the xi = L/4 line."""
    data = {
        "seed": seed,
        "lattice": [extent, extent],
        "action": {"kind": "phi4", "notation": "bosetti2015", "beta": BETA[extent], "lam": 0.5},
        "model": {"base": {"kind": "free-field"}, "maps": [{"kind": "continuous"}]},
        "training": {
            "steps": 20,
            "batch": 256,
            "optimizer": {"kind": "gauss-newton"},
            "evaluate": {"every": 10_000, "proposals": 4096},
            "chunk": 1,
        },
    }
    return RunCard.from_data(apply_overrides(RunCard.from_data(data).to_data(), overrides or []))


class Clock(NoObserver):
    """Interrupts the training after every chunk; processor seconds and configurations of all of them so far."""

    def __init__(self):
        self.seconds, self.configurations, self.spread = 0.0, 0, float("inf")
        self.operations, self.each = 0.0, 0.0
        self._before, self._mark, self._step = 0, 0.0, 0

    def begin(self) -> None:
        """The steps of a new trainer follow."""
        self._before, self._step = self.configurations, 0

    def start(self) -> None:
        self._mark = time.process_time()

    def logged(self, record: dict[str, Any]) -> None:
        self.seconds += time.process_time() - self._mark
        self.configurations = self._before + record["configurations"]
        steps, self._step = record["step"] - self._step, record["step"]
        self.operations += steps * self.each
        self.spread = record["loss_error"] * sqrt(record["batch"] * steps)

    def interrupted(self) -> bool:
        return True


@dataclass(frozen=True)
class Cost:
    """What a training took, to an acceptance of `GOAL` (None: not reached) and in all, and what came of it."""

    reached: dict[str, Any] | None
    configurations: int
    processor_seconds: float
    acceptance: float
    acceptance_error: float
    status: str
    parameters: int
    integration: dict[str, float] | None
    """Mean and spread of the log-weights' error, integrated as in training; None for a map that is exact."""


def trained(trainer: Trainer, clock: Clock, *, stop: bool = False, operations: bool = False) -> tuple[Cost, Any]:
    """Train to the end, or with `stop` to the goal; the cost so far, and the last state.

    A map is judged on 4096 fresh proposals once the spread of its own batches says that it is near the goal.
    """
    clock.begin()
    state, reached, acceptance = trainer.initial_state(), None, None
    clock.each = trainer.operations(state) if operations else float("nan")
    while True:
        # Every size of batch has its own program.
        trainer.compile(state)
        clock.start()
        outcome = trainer.run(state)
        state, acceptance = outcome.state, outcome.evaluation and outcome.evaluation.acceptance
        over = outcome.status != "interrupted"
        # A batch judges the parameters before the step that it leads to.
        near = reached is None and erfc(clock.spread / 2) > GOAL - 0.05
        if (over or near) and acceptance is None:
            acceptance = trainer.evaluate(state).acceptance
        if reached is None and acceptance is not None and acceptance.value - acceptance.error > GOAL:
            reached = {"configurations": clock.configurations, "processor_seconds": clock.seconds}
            if operations:
                reached["operations"] = clock.operations
            over = over or stop
        if over:
            assert acceptance is not None
            flow = trainer.flow(state)
            found = certificate(flow, trainer.action, jax.random.key(0), steps=flow.integration_steps)
            error = found and {"mean": found.mean, "spread": found.spread}
            done = (clock.configurations, clock.seconds, *acceptance, outcome.status, flow.parameters)
            return Cost(reached, *done, error), state


def plain_trainer(whole: RunCard, clock: Clock) -> Trainer:
    """That of a card without a ladder."""
    plan = Plan(whole)
    return Trainer(plan.flow(), plan.target, plan.training, plan.keys["train"], clock)


def measured(whole: RunCard, *, stop: bool = False) -> Cost:
    """The cost on the last lattice of a card, those before included."""
    clock, trainer, cost, state = Clock(), None, None, None
    for rung in Plan(whole).rungs:
        flow = rung.flow()
        if trainer is not None and state is not None:
            flow = trainer.flow(state).resize(rung.lattice, rung.target)
        trainer = Trainer(flow, rung.target, rung.training, rung.keys["train"], clock)
        cost, state = trained(trainer, clock, stop=stop and rung.card.lattice == whole.lattice, operations=stop)
    assert cost is not None
    return cost


class Pace:
    """Processor seconds that a configuration of the recipe takes at this moment, on a lattice."""

    @classmethod
    @cache
    def on(cls, extent: int) -> "Pace":
        """The same one whenever it is asked for."""
        return cls(extent)

    def __init__(self, extent: int):
        self._trainer = plain_trainer(card(extent), Clock())
        self._state = self._trainer.run(self._trainer.initial_state()).state

    def __call__(self) -> float:
        clock = self._trainer.observer = Clock()
        clock.start()
        self._trainer.run(self._state)
        return clock.seconds / 256


def variants(names: list[str]) -> Iterator[list[dict[str, Any]]]:
    """The variants of these names, or all, seed after seed; what has a row is not measured again."""
    rows = (kept("ablations") or {}).get("variants", [])
    for name, extent in ((name, extent) for extent in (16, 20) for name in names or VARIANTS):
        if extent == 20 and name not in LARGER:
            continue
        for seed in range(SEEDS.get(name, 2)):
            row: dict[str, Any] = {"variant": name, "extent": extent, "seed": seed}
            if any(row.items() <= other.items() for other in rows):
                continue
            pace = Pace.on(extent)
            before = pace()
            cost = measured(card(extent, seed, VARIANTS[name]))
            rows.append(row | {"pace": (before + pace()) / 2} | asdict(cost))
            sys.stderr.write(f"{rows[-1]}\n")
            yield rows


def scaling() -> Iterator[dict[str, Any]]:
    """Cost to 0.7 against L, three seeds each; what has a row is not measured again."""
    rows = (kept("ablations") or {}).get("scaling", {}).get("rows", [])
    for extent, ladder in LADDERS.items():
        for kind in ("scratch", "ladder") if ladder else ("scratch",):
            for seed in range(3):
                changes = [*EVEN, WIDE, "training.batch=128", "training.steps=60"]
                if kind == "ladder":
                    rungs = [
                        f"{{lattice: [{rung}, {rung}], action: {{beta: {BETA[rung]}}}, steps: {8 if rung == 8 else 4}, "
                        f"optimizer: {{kind: gauss-newton, damping: {0.3 if rung == 8 else 0.01}}}}}"
                        for rung in ladder
                    ]
                    changes += [f"training.ladder=[{', '.join(rungs)}]", "training.optimizer.damping=0.01"]
                row: dict[str, Any] = {"extent": extent, "kind": kind, "seed": seed, "changes": changes}
                if any(row.items() <= other.items() for other in rows):
                    continue
                row |= asdict(measured(card(extent, seed, changes), stop=True))
                rows.append(row)
                yield {"rows": rows, "exponents": exponents(rows)}
                sys.stderr.write(f"{extent} {kind} {seed}: {row['configurations']} {row['acceptance']:.3f}\n")
                jax.clear_caches()


def exponents(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """z of cost ~ L^z by a straight line through the logarithms; runs short of the target are left out, and counted."""
    result = {}
    for kind in ("scratch", "ladder"):
        for cost in ("configurations", "operations", "processor_seconds"):
            points = [
                (np.log(row["extent"]), np.log(row["reached"][cost]))
                for row in rows
                if row["kind"] in (kind, "scratch" if row["extent"] == 8 else kind) and row["reached"]
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
    content = kept("ablations") or {}
    for name in sys.argv[1:2] or ["scaling", "variants"]:
        for table in scaling() if name == "scaling" else variants(sys.argv[2:]):
            content[name] = table
            store("ablations", content)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
