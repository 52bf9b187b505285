"""The broken phase against an independent simulation: run as `python -m experiments.broken_phase [DIRECTORY]`.

Runs the preset broken-phase-L8 and the same card without annealing, in DIRECTORY, and a Metropolis simulation of its
own whose chains start half at +1, half at -1. Writes broken-phase.json and broken-phase.png in results/.
"""

import json
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

jax.config.update("jax_enable_x64", True)

from experiments.keeping import RESULTS  # noqa: E402
from trivmap.actions import Phi4  # noqa: E402
from trivmap.cards.card import load_card  # noqa: E402
from trivmap.diagnostics import effective_sample_size, forward_effective_sample_size  # noqa: E402
from trivmap.loading import Run  # noqa: E402
from trivmap.runs import pipeline  # noqa: E402
from trivmap.runs.sampling import sample  # noqa: E402
from trivmap.runs.train import train  # noqa: E402

CHAINS, SWEEPS, WARMUP, EVERY, STEP = 512, 4000, 1000, 20, 1.4


def simulate(action: Phi4, shape: tuple[int, ...]) -> np.ndarray:
    """Checkerboard Metropolis, every chain by itself: fields of shape (kept, chains, *shape)."""
    rng = np.random.default_rng(1)
    field = np.ones((CHAINS, *shape)) * np.where(np.arange(CHAINS) % 2, 1.0, -1.0)[:, None, None]
    parity = np.indices(shape).sum(axis=0) % 2
    kept = []
    for sweep in range(SWEEPS):
        for color in (0, 1):
            neighbors = sum(np.roll(field, shift, axis) for shift in (1, -1) for axis in (1, 2))
            proposed = field + STEP * rng.uniform(-1, 1, field.shape)
            change = (
                action.c1 * neighbors * (proposed - field)
                + action.c2 * (proposed**2 - field**2)
                + action.c4 * (proposed**4 - field**4)
            )
            accept = (rng.uniform(size=field.shape) < np.exp(np.minimum(0, -change))) & (parity == color)
            field = np.where(accept, proposed, field)
        if sweep >= WARMUP and sweep % EVERY == 0:
            kept.append(field)
    return np.array(kept)


def chain_mean(values: np.ndarray) -> tuple[float, float]:
    """Mean and error from the independent chains, shape (kept, chains)."""
    means = values.mean(axis=0)
    return float(means.mean()), float(means.std(ddof=1) / np.sqrt(len(means)))


def flow_results(name: str, overrides: list[str], folder: Path, fields: np.ndarray) -> tuple[dict, Run]:
    """Run a card and judge its flow on configurations of the simulation."""
    directory = pipeline.create(load_card("broken-phase-L8", overrides), folder / name)
    train(directory)
    sample(directory)
    summary = pipeline.measure(directory)
    run = Run(directory)
    log_weight = jax.jit(jax.vmap(lambda field: -run.action(field) - run.flow.log_density(field)))
    flat = jnp.asarray(fields.reshape(-1, *fields.shape[2:]), run.flow.base.dtype)
    weights = np.asarray(log_weight(flat)).reshape(fields.shape[:2])
    # Fields of one chain are correlated: the error comes from groups of chains.
    groups = [forward_effective_sample_size(part).value for part in np.array_split(weights, 16, axis=1)]
    reverse = np.stack([run.samples.read("log_weight", c, 0, run.samples.n) for c in range(run.samples.chains)])
    results, forward = run.results, forward_effective_sample_size(weights).value
    entry = {
        "acceptance": summary["sampling"]["acceptance"],
        "reverse_ess": effective_sample_size(reverse)._asdict(),
        "forward_ess": {"value": forward, "error": float(np.std(groups, ddof=1) / np.sqrt(len(groups)))},
        "abs_magnetization": summary["observables"].get("abs_magnetization"),
        "reweighted_abs_magnetization": float(results.reweighted.value("abs_magnetization")),
        "log_z": summary["log_z"],
        "untrusted": summary["untrusted"],
        "training": {key: summary["training"][key] for key in ("configurations", "wall_seconds", "status")},
    }
    return entry, run


def main() -> None:
    """Run everything and write the two files."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    card = load_card("broken-phase-L8")
    action = Phi4.from_couplings("bosetti2015", 2, beta=card.action.couplings["beta"], lam=card.action.couplings["lam"])
    fields = simulate(action, tuple(card.lattice))
    magnetization = fields.mean(axis=(2, 3))
    value, error = chain_mean(np.abs(magnetization))
    phi2, phi2_error = chain_mean((fields**2).mean(axis=(2, 3)))
    outcome = {
        "simulation": {
            "algorithm": "checkerboard Metropolis, chains started half at +1 and half at -1",
            "chains": CHAINS,
            "sweeps": SWEEPS,
            "abs_magnetization": {"value": value, "error": error},
            "phi2": {"value": phi2, "error": phi2_error},
            "positive_fraction": float(np.mean(magnetization > 0)),
        }
    }
    runs = {}
    for name, overrides in (("annealed", []), ("not annealed", ["training.temperature.start=1"])):
        outcome[name], runs[name] = flow_results(name, overrides, folder, fields)
    (RESULTS / "broken-phase.json").write_text(json.dumps(outcome, indent=2) + "\n")
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    edges = np.linspace(-1.6, 1.6, 81)
    axes.hist(magnetization.ravel(), edges, density=True, color="0.8", label="Metropolis")
    for name, run in runs.items():
        drawn = np.concatenate(
            [run.samples.read("magnetization", chain, 0, run.samples.n) for chain in range(run.samples.chains)]
        )
        density, _ = np.histogram(drawn, edges, density=True)
        axes.stairs(density, edges, label=f"flow's proposals, {name}")
    axes.set_xlabel("$m$")
    axes.set_ylabel("$P(m)$")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(RESULTS / "broken-phase.png", dpi=150)


if __name__ == "__main__":
    main()
