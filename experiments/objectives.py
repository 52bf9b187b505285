"""Compares objectives on one map: `python -m experiments.objectives` writes objectives.json in results/.

The map, the optimizer (Adam) and the batch of the preset broken-phase-L8, `STEPS` steps, without annealing unless a row
says so: in the broken phase, and at the critical coupling on 16 x 16. Data of the target are configurations of embedded
clusters, of which the test takes others than the training; `walkers` are the flow's own chains. The file is written
after every entry, and entries that it holds are not measured again; `--only broken` or `--only critical` measures one
point, `--seeds 2` more seeds.
"""

import argparse
import sys
import time
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.keeping import kept, store
from experiments.optimizers import Judge
from trivmap.actions import AbstractAction
from trivmap.cards.card import load_card
from trivmap.diagnostics import forward_effective_sample_size
from trivmap.flows import Flow
from trivmap.lattice import Lattice
from trivmap.objectives import (
    AbstractObjective,
    ForwardKL,
    LogVariance,
    Mixture,
    PathGradient,
    ReverseKL,
    Variance,
)
from trivmap.runs.plan import Plan
from trivmap.samplers import ClusterCycle
from trivmap.simulation import ClusterChains
from trivmap.training import Trainer
from trivmap.training.data import Stored, Walkers

POINTS = {"broken": (8, 0.75), "critical": (16, 0.687)}
"""L and beta at lam = 0.5 (arXiv:1506.08587)."""
STEPS, BATCH = 600, 128
CONFIGURATIONS, EVERY = 16_384, 5
"""Configurations of clusters for the training, as many for the test; cycles from one to the next."""
OBJECTIVES: dict[str, tuple[AbstractObjective, str]] = {
    "path-gradient, annealed": (PathGradient(), ""),
    "path-gradient": (PathGradient(), ""),
    "reverse-kl": (ReverseKL(), ""),
    "variance": (Variance(), ""),
    "log-variance": (LogVariance(), ""),
    "log-variance, over data": (LogVariance(over="data"), "clusters"),
    "forward-kl": (ForwardKL(), "clusters"),
    "mixture": (Mixture(), "clusters"),
    "mixture, walkers": (Mixture(), "walkers"),
}
"""The objective of each row, and where its configurations of the target come from."""


def clusters(lattice: Lattice, action: AbstractAction) -> tuple[np.ndarray, float]:
    """Configurations of the target, twice `CONFIGURATIONS`, and the seconds that half of them took."""
    chains = 4
    begun = time.perf_counter()
    driver = ClusterChains(
        ClusterCycle(action, lattice), jax.random.key(77), chains=chains, warmup=400, measure=lambda field: {}
    )
    steps = 2 * CONFIGURATIONS * EVERY // chains
    part, _ = driver.part(driver.start(), 0, steps, thin=EVERY)
    assert part.fields is not None
    # Neighbors in time stay together: the halves are independent but for one autocorrelation time.
    return np.moveaxis(part.fields, 0, 1).reshape(-1, *lattice.shape), (time.perf_counter() - begun) / 2


def forward(flow: Flow, action: AbstractAction, fields: np.ndarray) -> dict[str, float]:
    """The effective sample size on configurations of the target, its error from blocks in time."""
    log_weights = jax.jit(jax.vmap(lambda field: -action(field) - flow.log_density(field)))
    weights = np.asarray(jax.lax.map(log_weights, jnp.asarray(fields.reshape(16, -1, *fields.shape[1:]), "float32")))
    groups = [forward_effective_sample_size(part).value for part in weights]
    value = forward_effective_sample_size(weights.ravel()).value
    return {"value": value, "error": float(np.std(groups, ddof=1) / np.sqrt(len(groups)))}


def measured(entry: dict[str, Any], fields: np.ndarray) -> dict[str, Any]:
    """The entry with what its training cost and reached."""
    extent, beta = POINTS[entry["point"]]
    objective, source = OBJECTIVES[entry["objective"]]
    settings = [f"lattice=[{extent}, {extent}]", f"action.beta={beta}", f"seed={entry['seed']}"]
    settings += [f"training.steps={STEPS}", f"training.batch={BATCH}", f"training.evaluate.every={STEPS}"]
    settings += [] if "annealed" in entry["objective"] else ["training.temperature.start=1"]
    plan = Plan(load_card("broken-phase-L8", settings))
    data = {"": None, "clusters": Stored(fields[:CONFIGURATIONS].astype("float32")), "walkers": Walkers(count=BATCH)}
    judge, training = Judge(1e9), replace(plan.training, objective=objective, data=data[source])
    trainer = Trainer(plan.flow(), plan.action, training, plan.keys["train"], judge)
    state = trainer.initial_state()
    trainer.compile(state)
    judge.begin()
    outcome = trainer.run(state)
    entry |= {
        "status": outcome.status,
        "message": outcome.message,
        "configurations": judge.configurations,
        "processor_seconds": judge.seconds,
    }
    if outcome.evaluation is None:
        return entry
    return entry | {
        "acceptance": outcome.evaluation.acceptance._asdict(),
        "reverse_ess": outcome.evaluation.ess._asdict(),
        "forward_ess": forward(trainer.flow(outcome.state), plan.action, fields[CONFIGURATIONS:]),
    }


def main() -> None:
    """Measure what is asked for and missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=POINTS)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    content = kept("objectives") or {"steps": STEPS, "batch": BATCH, "clusters": {}, "rows": []}
    done = {(row["point"], row["objective"], row["seed"]) for row in content["rows"]}
    for point, (extent, beta) in POINTS.items():
        if arguments.only not in (None, point):
            continue
        card = load_card("broken-phase-L8", [f"lattice=[{extent}, {extent}]", f"action.beta={beta}"])
        fields, seconds = clusters(Lattice(card.lattice), Plan(card).action)
        content["clusters"][point] = {"configurations": CONFIGURATIONS, "seconds": seconds}
        for seed in range(arguments.seeds):
            for objective in OBJECTIVES:
                if (point, objective, seed) in done:
                    continue
                entry = measured({"point": point, "objective": objective, "seed": seed}, fields)
                content["rows"].append(entry)
                sys.stderr.write(f"{entry}\n")
                store("objectives", content)
                jax.clear_caches()


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
