"""A flow trained under annealing comes back from the disk as it was."""

import jax
import numpy as np
import pytest

from trivmap.bases import FreeField
from trivmap.cards.build import build_action
from trivmap.cards.card import RunCard
from trivmap.lattice import Lattice
from trivmap.runs.plan import Plan
from trivmap.store.weights import load_model, save_model


def card(learnable):
    return RunCard.from_data(
        {
            "lattice": [4, 6],
            "dtype": "float64",
            "action": {"kind": "phi4", "notation": "bosetti2015", "beta": 0.75, "lam": 0.5},
            "model": {"base": {"kind": "free-field", "learnable": learnable}, "maps": []},
            "training": {
                "steps": 2,
                "batch": 4,
                "optimizer": {"kind": "adam", "learning_rate": 1e-3},
                "temperature": {"start": 2.0},
            },
        }
    )


@pytest.mark.parametrize("learnable", [False, True])
def test_density_survives_saving(learnable, tmp_path):
    flow = Plan(card(learnable)).flow()
    save_model(tmp_path, flow, card(learnable))
    loaded, _ = load_model(tmp_path, lambda known: Plan(known).flow())
    field = jax.random.normal(jax.random.key(1), (4, 6), "float64")
    assert float(loaded.log_density(field)) == float(flow.log_density(field))


def test_learnable_spectrum_starts_hot():
    flow = Plan(card(True)).flow()
    lattice = Lattice([4, 6])
    hot = FreeField.hartree(lattice, build_action(card(True)), temperature=2.0, dtype="float64")
    field = jax.random.normal(jax.random.key(1), (4, 6), "float64")
    np.testing.assert_allclose(flow.log_density(field), hot.log_density(field), rtol=1e-13)
    cold = FreeField.hartree(lattice, build_action(card(True)), dtype="float64")
    assert abs(float(flow.log_density(field) - cold.log_density(field))) > 0.1
