"""A ladder of lattices: which rungs fit, how training climbs them, and that a kill between them changes nothing."""

import math

import pytest

from tests.oracles import ChainOracle
from tests.runs.small_run import Signaling, copied
from tests.runs.support import RING, contents
from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.runs import pipeline, sampling
from trivmap.runs.plan import Plan
from trivmap.runs.progress import Interrupted
from trivmap.runs.train import train

BETA, LAM = RING["action"]["beta"], RING["action"]["lam"]
LADDER = [{"lattice": [4], "action": {"beta": 0.7}, "steps": 5, "batch": 64}, {"lattice": [6], "steps": 2}]
CARD = RING | {
    "model": {
        "base": {"kind": "free-field"},
        "maps": [{"kind": "continuous", "steps": 4, "kernel": {"masses": [1.0]}}],
    },
    "training": RING["training"] | {"ladder": LADDER},
    "sampling": {"chains": 2, "proposals": 8000},
    "measure": {"stages": {"proposals": 64}},
}


def changed(**training) -> RunCard:
    return RunCard.from_data(CARD | {"training": CARD["training"] | training})


@pytest.fixture(scope="module")
def climbed(tmp_path_factory):
    run = pipeline.create(RunCard.from_data(CARD), tmp_path_factory.mktemp("ladder") / "run")
    train(run)
    return run


def test_rungs_are_cards_of_their_own():
    small, middle, whole = RunCard.from_data(CARD).rungs()
    assert (small.lattice, small.action.beta, small.training.batch) == ([4], 0.7, 64)
    assert (middle.lattice, middle.action.beta, middle.training.batch) == ([6], BETA, 128)
    assert [card.training.steps for card in (small, middle, whole)] == [5, 2, 6]
    assert [card.training.evaluate.every for card in (small, middle, whole)] == [5, 2, 3]
    assert whole.training_steps == 13


@pytest.mark.parametrize(
    ("rung", "message"),
    [
        ({"lattice": [10]}, r"training\.ladder\.0\.lattice: \[10\] is larger than the lattice \[8\]"),
        ({"lattice": [4, 4]}, r"training\.ladder\.0\.lattice: \[4, 4\] has another dimension than the lattice \[8\]"),
        ({"lattice": [4], "action": {"beta": math.nan}}, r"training\.ladder\.0: as a card of its own: action\.beta"),
        ({"lattice": [4], "action": {"m_sq": 1}}, r"training\.ladder\.0: as a card of its own: action\.m_sq: unknown"),
        ({"lattice": [4], "stebs": 3}, r"training\.ladder\.0\.stebs: unknown key; did you mean steps"),
        ({}, r"training\.ladder\.0\.lattice: missing"),
    ],
)
def test_a_rung_that_makes_no_sense_is_refused(rung, message):
    with pytest.raises(InputError, match=message):
        changed(ladder=[rung])


def test_overrides_drop_a_ladder_that_no_longer_fits():
    card = RunCard.from_data(CARD)
    smaller = card.with_overrides(["lattice=[5]"])
    assert smaller.training.ladder == []
    assert len(smaller.notes) == 1 and "the ladder is dropped" in smaller.notes[0] and "[6]" in smaller.notes[0]
    larger = card.with_overrides(["lattice=[16]", "action.beta=0.95"])
    assert len(larger.training.ladder) == 2 and larger.notes == ()
    with pytest.raises(InputError, match=r"training\.stebs"):
        card.with_overrides(["lattice=[5]", "training.stebs=4"])


def test_a_dense_network_cannot_climb(tmp_path):
    network = {"kind": "dense", "hidden": [4]}
    dense = {"base": {"kind": "gaussian"}, "maps": [{"kind": "affine", "couplings": 2, "network": network}]}
    with pytest.raises(InputError, match=r"training\.ladder\.0: coupling: its network needs lattice \[4\]"):
        pipeline.create(RunCard.from_data(CARD | {"model": dense}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_costs_add_up_and_milestones_are_of_the_last_lattice(climbed):
    training = climbed.summary()["training"]
    assert training["steps"] == 13
    assert training["configurations"] == 5 * 64 + 2 * 128 + 6 * 128
    assert [rung["configurations"] for rung in training["rungs"]] == [5 * 64, 5 * 64 + 2 * 128]
    assert all(rung["evaluation"]["acceptance"]["value"] > 0.5 for rung in training["rungs"])
    assert training["acceptance_milestones"]["0.9"]["configurations"] in (5 * 64 + 5 * 128, 5 * 64 + 8 * 128)
    steps = [record["step"] for record in climbed.metrics() if "loss" in record]
    assert steps == list(range(1, 14))
    assert [record["rung"] for record in climbed.metrics() if "loss" in record] == [0] * 5 + [1] * 2 + [2] * 6


@pytest.mark.parametrize("update", [3, 7, 12])
def test_interrupted_anywhere_it_ends_the_same(climbed, tmp_path, update):
    run = pipeline.create(RunCard.from_data(CARD), tmp_path / "run")
    with pytest.raises(Interrupted, match=r"interrupted at step \d+ of 13; continue with trivmap train --resume"):
        train(run, Signaling(at=update))
    train(run)
    assert contents(run.model_path) == contents(climbed.model_path)
    timed = {"seconds", "evaluation"}
    kept, expected = ([{k: v for k, v in r.items() if k not in timed} for r in x.metrics()] for x in (run, climbed))
    assert kept == expected
    before = contents(run.root)
    train(run)
    assert contents(run.root) == before


def test_log_z_is_that_of_the_transfer_matrix(climbed, tmp_path):
    run = copied(climbed, tmp_path / "run")
    summary = sampling.sample(run)
    exact = ChainOracle(8, -BETA, 1 - 2 * LAM, LAM).log_z
    value, error = summary["log_z"]["value"], summary["log_z"]["error"]
    assert error < 0.01 and abs(value - exact) < 3 * error
    certificate = summary["sampling"]["certificate"]
    assert certificate["passed"] and error >= abs(certificate["mean"])
    flow = pipeline.load_flow(run, Plan(run.card()))
    assert flow.integration_steps == certificate["steps"]
