"""Estimated seconds follow what a card asks for. How near they come to real ones is measured by hand."""

import jax
import pytest

from tests.runs.support import CARD
from trivmap.cards.card import RunCard, load_card
from trivmap.runs.duration import seconds
from trivmap.runs.plan import Plan

MAPLESS = {"lattice": [8, 8], "action": {"kind": "phi4", "notation": "bosetti2015", "beta": 0.5, "lam": 0.5}}


def of(data, *overrides, **given):
    found = seconds(Plan(RunCard.from_data(data).with_overrides(list(overrides))), **given)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "sampling",
    [
        {"kind": "hmc", "warmup": 200},
        {"kind": "hmc", "warmup": 200, "step_size": 0.1},
        {"kind": "cluster", "warmup": 200},
        {"kind": "annealed"},
        {"kind": "annealed", "moves": "heat-bath"},
        {"kind": "annealed", "moves": "langevin", "particles": 4},
    ],
    ids=lambda each: "-".join(map(str, each.values())),
)
def test_twice_the_proposals_take_twice_the_time(sampling):
    data = {**MAPLESS, "sampling": {**sampling, "chains": 4, "proposals": 10**6}}
    assert of(data, "sampling.proposals=2000000") / of(data) == pytest.approx(2, rel=0.01)
    # A site takes about the same on every lattice.
    assert 8 < of(data, "lattice=[32, 32]") / of(data) < 32


@pytest.mark.parametrize(
    ("more", "least", "most"),
    [
        ("sampling.step_size=0.01", 4, 10),
        ("sampling.trajectory_length=10", 4, 10),
        ("sampling.integrator=leapfrog", 0.5, 0.7),
    ],
)
def test_steps_of_trajectories(more, least, most):
    data = {**MAPLESS, "sampling": {"kind": "hmc", "chains": 1, "proposals": 10**6, "step_size": 0.1}}
    assert least < of(data, more) / of(data) < most


def test_training_and_its_ladder():
    # Everything but training is small, so that it shows.
    sampling = {**CARD["sampling"], "proposals": 64}
    card = {**CARD, "sampling": sampling, "measure": {"stages": {"proposals": 8}}}
    assert of(card, training=False) < 0.2 * of(card)
    assert 1.5 < of(card, f"training.steps={2 * CARD['training']['steps']}") / of(card) < 2.1
    rung = {"lattice": [2, 2], "steps": 10_000, "batch": 64}
    assert of({**card, "training": {**card["training"], "ladder": [rung]}}) > 2 * of(card)


def test_gauss_newton_solves():
    card = load_card("phi4-L8").to_data()
    card["training"] |= {"steps": 1000, "batch": 256}
    card["training"]["optimizer"] = {"kind": "gauss-newton", "space": "samples"}
    few, many = of(card), of(card, "training.batch=2048")
    # The system of equations is as large as the batch: more than in proportion.
    assert many > 8.2 * few


def test_only_on_a_processor(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert seconds(Plan(RunCard.from_data(CARD))) is None
