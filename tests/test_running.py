"""A card carried out in one call, and continued."""

import jax
import pytest

import trivmap
from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.runs import finish as finishing
from trivmap.runs import pipeline
from trivmap.runs.finish import finish

FREE = {
    "lattice": [6],
    "action": {"kind": "free", "m_sq": 0.7},
    "model": {"base": {"kind": "free-field"}, "maps": []},
    "training": {
        "steps": 20,
        "batch": 16,
        "optimizer": {"kind": "adam", "learning_rate": 0.01},
        "evaluate": {"every": 20},
    },
    "sampling": {"kind": "flow", "chains": 2, "proposals": 4000, "probe": False},
    "measure": {"stages": {"proposals": 64}},
}


@pytest.fixture
def calls(monkeypatch):
    """The steps taken, in order."""
    taken = []

    def noted(name, work):
        def step(*arguments, **more):
            taken.append(name)
            return work(*arguments, **more)

        return step

    for name, home in (("train", finishing), ("sample", finishing), ("measure", pipeline)):
        monkeypatch.setattr(home, name, noted(name, getattr(home, name)))
    return taken


def test_run_and_run_again(tmp_path, calls):
    out = tmp_path / "run"
    first = trivmap.run(FREE, out)
    assert calls == ["train", "sample", "measure"]
    phi2 = first.summary["observables"]["phi2"]
    assert abs(phi2["value"] - first.results["phi2"].value) < 1e-12
    assert trivmap.run(FREE, out).summary == first.summary
    assert calls[3:] == ["train"], "which finds that nothing is left"
    more = trivmap.run(FREE, out, overrides=["sampling.proposals=6000"])
    assert calls[4:] == ["train", "sample", "measure"]
    assert more.summary["sampling"]["proposals"] == 6000
    other = trivmap.run(FREE, out, overrides=["sampling.proposals=6000", "measure.bins=200"])
    assert calls[7:] == ["train", "measure"]
    assert other.card.measure.bins == 200 and other.results.info["bins"] == 200


@pytest.mark.parametrize(
    ("override", "key"), [("action.m_sq=0.8", "action"), ("seed=7", "seed"), ("training.steps=30", "training")]
)
def test_another_run_in_the_same_place(tmp_path, override, key):
    with jax.numpy_dtype_promotion("standard"):
        pipeline.create(RunCard.from_data(FREE), tmp_path / "run")
    with pytest.raises(InputError, match=rf"run/config\.yaml: its {key} is not that of the card; give another"):
        trivmap.run(FREE, tmp_path / "run", overrides=[override])


def test_a_preset_and_a_mistake(tmp_path):
    with pytest.raises(InputError, match="no preset of that name"):
        trivmap.run("quickstrat", tmp_path / "run")
    with pytest.raises(InputError, match="lattice"):
        trivmap.run({**FREE, "lattice": [1]}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_again(tmp_path, calls):
    run = trivmap.run(FREE, tmp_path / "run").directory
    seen = []
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        finish(run, again=True, after_training=lambda: seen.append(1), after_sampling=lambda: seen.append(2))
    assert calls[3:] == ["train", "sample", "measure"] and seen == [1, 2]
    finish(run, training=False)
    assert calls[6:] == []
