"""Chains that begin at configurations of an ensemble."""

import numpy as np
import pytest

from tests.runs.support import RING
from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.runs import pipeline, sampling
from trivmap.runs.ensemble import starts
from trivmap.runs.keys import keys
from trivmap.runs.plan import Plan
from trivmap.runs.samplers import build_sampler
from trivmap.store.samples import SampleReader

ENSEMBLE = np.random.default_rng(0).normal(size=(2, 6, 8))


def data(start, **sampling):
    """A card of a ring of 8 sites, whose chains begin at `start`."""
    section = {"kind": "hmc", "chains": 4, "proposals": 400, "warmup": 0, "step_size": 0.1, **sampling}
    return {key: RING[key] for key in ("seed", "lattice", "action")} | {"sampling": section | {"start": start}}


def given(name, **sampling):
    return RunCard.from_data(data({"configurations": str(name)}, **sampling))


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "own.npy", ENSEMBLE)
    return tmp_path / "own.npy"


@pytest.mark.parametrize("kind", ["hmc", "langevin"])
def test_chains_begin_there(kind, file, tmp_path):
    extra = {"kind": kind, "step_size": 0.1}
    run = pipeline.create(given(file, **extra), tmp_path / "run")
    state = build_sampler(run, Plan(run.card())).driver.start()
    # Four of twelve, spread evenly.
    np.testing.assert_array_equal(state["field"], ENSEMBLE.reshape(12, 8)[::3].astype(state["field"].dtype))


def test_the_file_is_needed_once(file, tmp_path):
    run = pipeline.create(given(file), tmp_path / "run")
    summary = sampling.sample(run)
    assert summary["sampling"]["diagnostics"]["start"] == "given"
    with SampleReader(run.root) as reader:
        assert (reader.attrs["begin"], reader.attrs["begin_at"]) == ("given", str(file))
        before = reader["phi2"]
    file.unlink()
    sampling.sample(run, card=run.card().with_overrides(["sampling.proposals=800"]))
    with SampleReader(run.root) as reader:
        assert reader.n == 200
        np.testing.assert_array_equal(reader["phi2"][:, :100], before)


def test_the_name_does_not_change_the_random_numbers(file, tmp_path):
    np.save(tmp_path / "same.npy", ENSEMBLE)
    found = [keys(given(name))["sample"] for name in (file, tmp_path / "same.npy")]
    assert found[0] == found[1] != keys(RunCard.from_data(data("hot")))["sample"]


def test_a_run_may_be_the_ensemble(tmp_path):
    source = pipeline.create(RunCard.from_data(data("hot", save_fields=True)), tmp_path / "source")
    sampling.sample(source)
    with SampleReader(source.root) as reader:
        fields = reader["fields"]
    np.testing.assert_array_equal(starts(str(source.root), Plan(given(source.root)), 4), fields[:, 0])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 8)), "has 3 configurations for 4 chains"),
        (np.zeros((4, 9)), r"has shape \[4, 9\]"),
        (np.full((4, 8), np.inf), "holds NaN or an infinity"),
        (None, "cannot be read"),
    ],
)
def test_what_is_refused(array, message, tmp_path):
    if array is not None:
        np.save(tmp_path / "own.npy", array)
    with pytest.raises(InputError, match=rf"^sampling\.start\.configurations: .*own\.npy.*{message}"):
        pipeline.create(given(tmp_path / "own.npy"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("own.npy", "sampling.start: 'own.npy' is unknown"),
        (3, "sampling.start"),
        ({"file": "own.npy"}, "sampling.start.file: unknown key"),
        ({"configurations": 3}, "sampling.start.configurations: must be text"),
        ({}, "sampling.start.configurations: missing; give the ensemble"),
    ],
)
def test_what_is_no_start(start, message):
    with pytest.raises(InputError) as error:
        RunCard.from_data(data(start))
    assert message in str(error.value)
