"""Trainings on configurations of another run, and on chains of the flow itself."""

import json
import shutil

import numpy as np
import pytest

from tests.runs.small_run import Signaling
from tests.runs.support import contents
from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.runs import pipeline
from trivmap.runs.data import configurations, source
from trivmap.runs.progress import Interrupted
from trivmap.runs.sampling import sample
from trivmap.runs.train import train
from trivmap.store.directory import RunDirectory

CARD = {
    "lattice": [4],
    "dtype": "float64",
    "action": {"kind": "phi4", "notation": "bosetti2015", "beta": 0.5, "lam": 0.5},
    "model": {"base": {"kind": "free-field"}, "maps": [{"kind": "zero-mode", "bins": 4}]},
    "training": {
        "objective": "forward-kl",
        "data": {"kind": "run", "run": "chain"},
        "steps": 40,
        "batch": 64,
        "optimizer": {"kind": "adam", "learning_rate": 0.02},
        "evaluate": {"every": 20},
    },
}
HMC = {"kind": "hmc", "chains": 4, "proposals": 800, "thin": 2, "save_fields": True}


def card(**training):
    return RunCard.from_data({**CARD, "training": CARD["training"] | training})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a chain of hybrid Monte Carlo that keeps its fields."""
    root = tmp_path_factory.mktemp("runs")
    data = {key: CARD[key] for key in ("lattice", "dtype", "action")}
    run = pipeline.create(RunCard.from_data({**data, "sampling": HMC}), root / "chain")
    sample(run)
    return root


def test_the_fields_of_a_chain(folder):
    fields = configurations(card(), folder / "new")
    assert fields.shape == (400, 4) and len(np.unique(np.asarray(fields), axis=0)) > 300
    assert configurations(card(objective="path-gradient", data=None), folder / "new") is None


@pytest.mark.usefixtures("optax_mixes_dtypes")
@pytest.mark.parametrize(
    ("training", "each"),
    [
        ({}, 1),
        ({"objective": "mixture"}, 2),
        ({"objective": {"kind": "log-variance", "over": "data"}}, 1),
        ({"objective": {"kind": "mixture", "forward": 0.2}, "data": {"kind": "walkers", "count": 32}}, 3),
    ],
    ids=["forward", "mixture", "log-variance", "walkers"],
)
def test_a_training(folder, tmp_path_factory, training, each):
    name = f"map-{len(list(folder.iterdir()))}"
    run = pipeline.create(card(**training), folder / name)
    summary = train(run)["training"]
    assert summary["status"] == "finished" and summary["configurations"] == 40 * 64 * each
    assert summary["evaluation"]["acceptance"]["value"] > 0.6
    logged = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    noise = card(**training).training.objective.build("objective").draws != {"data"}
    assert all(("ess" in line) == noise for line in logged if "loss" in line)


@pytest.mark.usefixtures("optax_mixes_dtypes")
def test_interrupted_it_ends_the_same(folder):
    """The chains of the flow are part of what a checkpoint keeps."""
    training = {"objective": "mixture", "data": {"kind": "walkers", "count": 32}, "checkpoint": {"every": 10}}
    whole = pipeline.create(card(**training), folder / "whole")
    train(whole)
    parts = pipeline.create(card(**training), folder / "parts")
    with pytest.raises(Interrupted):
        train(parts, Signaling(at=21))
    train(parts)
    assert contents(parts.model_path) == contents(whole.model_path)


@pytest.mark.parametrize(
    ("training", "sentence"),
    [
        ({"data": None}, "training.data: missing; forward-kl is estimated on configurations of the target"),
        ({"objective": "path-gradient"}, "training.data: of no use: path-gradient draws the flow's own configurations"),
        ({"objective": "log-variance"}, "training.data: of no use: log-variance draws the flow's own configurations"),
        ({"temperature": {"start": 2.0}}, "training.temperature.start: must be 1 with configurations of the target"),
        ({"data": {"kind": "walkers"}}, "training.data.count: missing; give the number of chains, for example 256"),
        ({"objective": {"kind": "mixture", "forward": 2}}, "training.objective.forward: must be between 0 and 1"),
        ({"objective": {"kind": "log-variance", "over": "fields"}}, "training.objective.over: 'fields' is unknown"),
    ],
)
def test_cards_that_make_no_sense(training, sentence):
    with pytest.raises(InputError) as caught:
        card(**training)
    assert sentence in str(caught.value)


def test_names_that_lead_elsewhere():
    for name in ("../chain", "/tmp/chain", "", "a b"):
        with pytest.raises(InputError, match=r"training\.data\.run: names a directory"):
            card(data={"kind": "run", "run": name})


def test_a_rung_has_data_of_its_own():
    walkers, adam = {"kind": "walkers", "count": 8}, {"kind": "adam", "learning_rate": 0.01}
    first, _ = card(ladder=[{"lattice": [2], "objective": "path-gradient"}]).rungs()
    assert first.training.data is None
    first, _ = card(ladder=[{"lattice": [2], "data": walkers, "optimizer": adam}]).rungs()
    assert first.training.data.count == 8 and first.training.objective.named == "forward-kl"
    first, last = card(
        objective="path-gradient", data=None, ladder=[{"lattice": [2], "objective": "mixture", "data": walkers}]
    ).rungs()
    assert first.training.objective.named == "mixture" and last.training.data is None
    with pytest.raises(InputError, match=r"training\.ladder\.0: cannot use configurations from a run at the card's"):
        card(ladder=[{"lattice": [2]}])


@pytest.mark.usefixtures("optax_mixes_dtypes")
def test_other_configurations_are_not_those_of_the_steps_taken(folder, tmp_path):
    for name in ("chain", "copy"):
        shutil.copytree(folder / "chain", tmp_path / name)
    run = pipeline.create(card(checkpoint={"every": 10}), tmp_path / "map")
    with pytest.raises(Interrupted):
        train(run, Signaling(at=21))
    kept = run.config_path.read_text()
    run.config_path.write_text(kept.replace("run: chain", "run: copy"))
    with pytest.raises(InputError, match=r"training\.data differs from that of the steps already taken"):
        train(run)
    run.config_path.write_text(kept)
    chain = RunDirectory(tmp_path / "chain")
    shutil.rmtree(chain.root)
    data = {key: CARD[key] for key in ("lattice", "dtype", "action")}
    other = pipeline.create(RunCard.from_data({**data, "seed": 7, "sampling": HMC}), chain.root)
    sample(other)
    with pytest.raises(InputError, match=r"training\.data\.run has other configurations"):
        train(run)


@pytest.mark.usefixtures("optax_mixes_dtypes")
def test_a_finished_training_needs_its_source_no_more(folder, tmp_path):
    shutil.copytree(folder / "chain", tmp_path / "chain")
    run = pipeline.create(card(), tmp_path / "map")
    done = train(run)
    shutil.rmtree(tmp_path / "chain")
    assert train(run)["training"] == done["training"]


def test_second_order_needs_least_squares(folder):
    with pytest.raises(InputError, match=r"^training\.optimizer: gauss-newton minimizes the variance or the KL"):
        pipeline.create(card(optimizer={"kind": "gauss-newton"}), folder / "never")
    assert not (folder / "never").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"training": {"data": {"kind": "run", "run": "nobody"}}}, "is not a run; name one in the folder"),
        ({"action": {"beta": 0.6}}, "has another action, so its configurations do not belong to this target"),
        ({"lattice": [6]}, "has another lattice"),
    ],
)
def test_runs_that_are_not_of_the_target(folder, changes, sentence):
    data = dict(CARD)
    for key, value in changes.items():
        data[key] = CARD[key] | value if isinstance(value, dict) else value
    with pytest.raises(InputError) as caught:
        source(RunCard.from_data(data), folder / "new")
    assert str(caught.value).startswith("training.data.run: ") and sentence in str(caught.value)


def test_runs_without_fields(folder):
    data = {key: CARD[key] for key in ("lattice", "dtype", "action")}
    bare = pipeline.create(RunCard.from_data({**data, "sampling": HMC | {"save_fields": False}}), folder / "bare")
    with pytest.raises(InputError, match=r"has not stored its fields; sample it with sampling.save_fields: true"):
        source(card(data={"kind": "run", "run": "bare"}), folder / "new")
    pipeline.create(RunCard.from_data({**data, "sampling": HMC}), folder / "waiting")
    with pytest.raises(InputError, match=r"holds no fields yet; sample it first|no samples"):
        configurations(card(data={"kind": "run", "run": "waiting"}), folder / "new")
    assert bare.root.exists()
