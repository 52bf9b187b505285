"""Runs of annealed importance sampling: what their log Z is worth."""

import math

import pytest

from tests.oracles import FreeFieldOracle
from trivmap.cards.card import RunCard
from trivmap.runs import pipeline
from trivmap.runs.sampling import sample


@pytest.mark.parametrize(("moves", "steps"), [("hmc", 4), ("heat-bath", 40)])
def test_log_z_of_a_free_field_in_float32_carries_its_rounding(tmp_path, moves, steps):
    """From the Hartree field, which is exact here, all weights are equal: their scatter alone would be no error."""
    lattice, m_sq = [6, 6], 0.3
    section = {"kind": "annealed", "moves": moves, "steps": steps, "chains": 2, "proposals": 2000}
    data = {"lattice": lattice, "action": {"kind": "free", "m_sq": m_sq}, "sampling": section}
    run = pipeline.create(RunCard.from_data(data), tmp_path / "run")
    sample(run)
    summary = run.summary()
    found, sampling = summary["log_z"], summary["sampling"]
    exact = FreeFieldOracle(tuple(lattice), -1.0, 2 + m_sq / 2).log_z
    assert abs(found["value"] - exact) < 3 * found["error"]
    if moves == "hmc":
        assert sampling["acceptance"]["value"] > 0.99999
        scatter = math.sqrt(found["error"] ** 2 - sampling["rounding"]["mean"] ** 2)
        assert scatter < 0.1 * abs(found["value"] - exact)
