"""What chains with heavy tails say when they are drawn on: `python -m experiments.tails --in DIR`.

The susceptibility of the affine maps at L = 8 that scaling.py left in DIR, from the proposals of the study and from 500
times as many, beside that of clusters and HMC. The Pareto shape is that of the largest 3 sqrt(N) of N weights
(arXiv:1507.02646). The runs in DIR stay as they are. Writes tails.json in results/ and fills the pages.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.stats import genpareto

from experiments.keeping import fill_pages, folder_of_runs, store
from trivmap.cards.card import RunCard
from trivmap.reports.references import find_reference
from trivmap.runs import pipeline
from trivmap.runs.sampling import sample
from trivmap.store.directory import RunDirectory
from trivmap.store.samples import SampleReader

MAPS = {f"affine, seed {seed}": f"published-baseline/runs/affine_L8_seed{seed}" for seed in range(3)}
FACTOR = 500
SIMULATIONS: dict[str, dict[str, Any]] = {
    "clusters": {"kind": "cluster", "chains": 2, "warmup": 1000, "proposals": 16_000_000},
    "HMC": {"kind": "hmc", "chains": 16, "warmup": 1000, "proposals": 16_000_000, "fourier_mass": 0.25},
}


def pareto_shape(log_weights: np.ndarray) -> float:
    """The shape of a generalized Pareto distribution of the largest weights' excess over the next one."""
    weights = np.sort(np.exp(log_weights - log_weights.max()), axis=None)
    largest = int(min(0.2 * weights.size, 3 * np.sqrt(weights.size)))
    return float(genpareto.fit(weights[-largest:] - weights[-largest - 1], floc=0)[0])


def row(name: str, run: RunDirectory) -> dict[str, Any]:
    """What a run's chains say."""
    summary = run.summary()
    sampling = summary["sampling"]
    found = {
        "name": name,
        "proposals": sampling["proposals"],
        "susceptibility": summary["observables"]["susceptibility"],
    }
    if sampling["kind"] == "flow":
        with SampleReader(run.root) as reader:
            found |= {"ess": sampling["ess"], "pareto_shape": pareto_shape(reader["log_weight"])}
    return found


def drawn_on(run: RunDirectory) -> RunDirectory:
    """`FACTOR` times the proposals of a run, the first of which are there."""
    data = run.card().to_data()
    data["sampling"]["proposals"] *= FACTOR
    sample(run, card=RunCard.from_data(data))
    pipeline.measure(run)
    return run


def measured(folder: Path) -> dict[str, Any]:
    """All rows, the reference, and what is simulated."""
    rows, card = [], RunDirectory.open(folder / next(iter(MAPS.values()))).card()
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, where) in enumerate(MAPS.items()):
            shutil.copytree(folder / where, Path(scratch) / str(number))
            run = RunDirectory.open(Path(scratch) / str(number))
            rows += [row(name, run), row(name, drawn_on(run))]
        for name, sampling in SIMULATIONS.items():
            own = {key: card.to_data()[key] for key in ("lattice", "action")}
            run = pipeline.create(RunCard.from_data({**own, "seed": 2021, "sampling": sampling}), Path(scratch) / name)
            sample(run)
            pipeline.measure(run)
            rows.append(row(name, run))
    known = find_reference(card.to_data()["action"], card.lattice)
    assert known is not None
    return {"rows": rows, "reference": known.observables["susceptibility"]._asdict()}


def main() -> None:
    """Measure, and fill the pages."""
    store("tails", measured(folder_of_runs(__doc__)))
    fill_pages()


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
