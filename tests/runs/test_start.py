"""Training that begins with the map of another run."""

import equinox as eqx
import jax
import pytest

from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.loading import load
from trivmap.runs import checking, pipeline
from trivmap.runs.plan import Plan
from trivmap.runs.train import train

CARD = {
    "dtype": "float64",
    "lattice": [4],
    "action": {"kind": "free", "m_sq": 0.8},
    "model": {"base": {"kind": "gaussian"}, "maps": [{"kind": "fourier"}]},
    "training": {
        "steps": 30,
        "batch": 32,
        "optimizer": {"kind": "adam", "learning_rate": 0.05},
        "evaluate": {"every": 30},
    },
}


def card(**changes):
    return RunCard.from_data(CARD | changes)


def started_from(name, **changes):
    return card(training=CARD["training"] | {"start": name}, **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Beside each other: a trained run, and one that is not."""
    folder = tmp_path_factory.mktemp("start")
    with jax.numpy_dtype_promotion("standard"):
        train(pipeline.create(card(), folder / "trained"))
    pipeline.create(card(), folder / "untrained")
    return folder


def test_it_begins_with_that_map(folder, optax_mixes_dtypes):
    root = folder / "same"
    run = pipeline.create(started_from("trained"), root)
    begun, trained = (
        checking.initial_flow(Plan(run.card()), root),
        load(folder / "trained").flow,
    )
    for own, other in zip(*(jax.tree.leaves(eqx.filter(flow, eqx.is_array)) for flow in (begun, trained)), strict=True):
        assert (own == other).all()
    train(run)
    first = run.summary()["training"]["evaluation"]["acceptance"]["value"]
    assert first > pipeline.RunDirectory(folder / "trained").summary()["training"]["evaluation"]["acceptance"]["value"]


def test_it_is_carried_to_another_lattice(folder):
    begun = checking.initial_flow(Plan(started_from("trained", lattice=[6])), folder / "larger")
    assert begun.lattice.shape == (6,)


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("nowhere", {}, "training.start: .*nowhere/model/header.json: is missing"),
        ("untrained", {}, "training.start: .*untrained/model/header.json: is missing"),
        (
            "trained",
            {"model": {"base": {"kind": "gaussian"}, "maps": [{"kind": "rescale"}]}},
            "is not that of the sect",
        ),
        ("trained", {"dtype": "float32"}, "is not that of the section model"),
    ],
)
def test_what_cannot_be_carried_is_refused_before_anything_is_made(folder, name, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        pipeline.create(started_from(name, **changes), folder / "refused")
    assert not (folder / "refused").exists()
