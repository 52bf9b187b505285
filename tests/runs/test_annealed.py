"""Runs of annealed importance sampling: what their log Z is worth."""

import math

import numpy as np
import pytest

from tests.oracles import FreeFieldOracle
from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.runs import pipeline
from trivmap.runs.sampling import sample
from trivmap.store.samples import SampleReader


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


def test_annealed_proposals_are_continued_with_the_same_steps_alone(tmp_path):
    section = {"kind": "annealed", "steps": 4, "chains": 2, "proposals": 400, "step_size": 0.3}
    data = {"lattice": [4], "action": {"kind": "free", "m_sq": 0.3}, "sampling": section}
    whole, run = (pipeline.create(RunCard.from_data(data), tmp_path / name) for name in ("whole", "run"))
    sample(run)
    with pytest.raises(InputError, match="was drawn with annealing_steps = 4, the run now has 8"):
        sample(run, card=RunCard.from_data(data | {"sampling": section | {"steps": 8, "proposals": 800}}))
    more = RunCard.from_data(data | {"sampling": section | {"proposals": 800}})
    sample(run, card=more)
    sample(whole, card=more)
    with SampleReader(run.root) as first, SampleReader(whole.root) as second:
        assert np.array_equal(first["log_weight"], second["log_weight"])
