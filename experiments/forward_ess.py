"""Judges trained flows on an independent sample of their target: `python -m experiments.forward_ess RUN ...`.

The sample is of embedded clusters, which know nothing of the flow, a configuration every 20 cycles in 16 chains. ESS
from it (forward) and from the flow's own proposals (reverse) are equal where the flow misses nothing. Writes
forward-ess.json in results/; what it holds of other presets and seeds stays.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.fill import changes
from experiments.keeping import kept, store
from trivmap.cards.card import RunCard
from trivmap.diagnostics import effective_sample_size, forward_effective_sample_size
from trivmap.loading import Run
from trivmap.runs import pipeline
from trivmap.runs.sampling import sample
from trivmap.store.directory import RunDirectory
from trivmap.store.samples import SampleReader

CHAINS, KEPT, EVERY = 16, 500, 20


def simulated(card: RunCard) -> np.ndarray:
    """Configurations of the run's action, shape (chains, kept, *lattice)."""
    data = card.to_data()
    clusters = {"kind": "cluster", "chains": CHAINS, "proposals": CHAINS * KEPT * EVERY, "thin": EVERY}
    own = {key: data[key] for key in ("lattice", "action")}
    other = RunCard.from_data({**own, "seed": card.seed + 1000, "sampling": {**clusters, "save_fields": True}})
    with tempfile.TemporaryDirectory() as folder:
        run = pipeline.create(other, Path(folder) / "clusters")
        sample(run)
        with SampleReader(run.root) as reader:
            return np.asarray(reader["fields"])


def judged(run: Run) -> dict[str, Any]:
    """Forward and reverse ESS of a run's flow, with errors."""
    flow, action, card = run.flow, run.action, run.card
    fields = simulated(card)

    @jax.jit
    def log_weights(batch: jax.Array) -> jax.Array:
        return jax.lax.map(lambda field: -action(field) - flow.log_density(field), batch, batch_size=flow.micro_batch)

    flat = jnp.asarray(fields.reshape(-1, *card.lattice), card.dtype)
    weights = np.asarray(log_weights(flat), np.float64).reshape(fields.shape[:2])
    # Each chain is independent of the others, whatever is left of its own correlation.
    parts = [forward_effective_sample_size(chain).value for chain in weights]
    return {
        "configurations": int(weights.size),
        "forward": {
            "value": forward_effective_sample_size(weights).value,
            "error": float(np.std(parts, ddof=1) / np.sqrt(len(parts))),
        },
        "reverse": effective_sample_size(run.samples["log_weight"])._asdict(),
    }


def main() -> None:
    """Judge the runs named."""
    rows = (kept("forward-ess") or {"rows": []})["rows"]
    for directory in sys.argv[1:]:
        run = Run(RunDirectory.open(directory))
        if changed := [key for key in changes(run.card) if not key.startswith("seed=")]:
            sys.exit(f"{directory}: differs from the preset of its name in {', '.join(changed)}")
        row = {"preset": run.card.name, "lattice": run.card.lattice, "seed": run.card.seed, **judged(run)}
        sys.stderr.write(f"{row}\n")
        rows = [other for other in rows if (other["preset"], other["seed"]) != (row["preset"], row["seed"])] + [row]
        store("forward-ess", {"rows": rows})


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
