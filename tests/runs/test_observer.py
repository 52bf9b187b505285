import json
import math

import jax
import jax.numpy as jnp
import pytest

from trivmap.estimate import Estimate
from trivmap.runs.observer import RunObserver
from trivmap.runs.progress import Clock, Interruption, NoProgress
from trivmap.store.checkpoints import CheckpointStore
from trivmap.store.directory import RunDirectory
from trivmap.training import Evaluation, TrainingState


class Store(CheckpointStore):
    """Keeps metadata in memory, as JSON would."""

    def __init__(self, folder):
        super().__init__(folder, "digest")
        self.saved = []

    def save(self, step, state, metadata):
        self.saved.append((step, json.loads(json.dumps(metadata, allow_nan=False))))


def judged(acceptance, error=0.01, ess=0.5):
    return Evaluation(Estimate(acceptance, error), Estimate(ess, 0.01), Estimate(1.5, 0.01), Estimate(-1.4, 0.01), 4096)


def state(step):
    nothing = jnp.zeros(())
    return TrainingState(nothing, None, nothing, jnp.asarray(step), jax.random.key(0), nothing, jnp.asarray(False))


@pytest.fixture
def make(tmp_path, card):
    run = RunDirectory.create(tmp_path / "run", card, {})

    def made(metadata=None, interruption=None):
        return RunObserver(
            run,
            Store(run.checkpoints_path),
            Clock(),
            NoProgress(),
            Interruption() if interruption is None else interruption,
            metadata,
        )

    return made


def record(step):
    return {"step": step, "configurations": 64 * step, "loss": -1.0, "ess": 0.4, "temperature": 1.0}


def advance(observer, step, acceptance, **options):
    observer.logged(record(step))
    observer.evaluated(step, judged(acceptance, **options), 0.25)


def test_milestones_are_first_times_minus_one_error(make):
    observer = make()
    assert observer.milestones == {"0.5": None, "0.7": None, "0.9": None}
    advance(observer, 10, 0.505)
    assert observer.milestones["0.5"] is None
    advance(observer, 20, 0.515)
    advance(observer, 30, 0.8)
    advance(observer, 40, 0.6)
    advance(observer, 50, 0.75)
    assert {key: value and value["steps"] for key, value in observer.milestones.items()} == {
        "0.5": 20,
        "0.7": 30,
        "0.9": None,
    }
    assert observer.milestones["0.5"]["configurations"] == 64 * 20
    assert 0 < observer.milestones["0.5"]["wall_seconds"] <= observer.milestones["0.7"]["wall_seconds"]


def test_one_evaluation_may_pass_several(make):
    observer = make()
    advance(observer, 10, 0.95)
    assert [value["steps"] for value in observer.milestones.values()] == [10, 10, 10]


def test_metrics_hold_both_kinds_of_lines(make):
    observer = make()
    advance(observer, 10, 0.6)
    chunk, evaluation = observer._run.metrics()
    assert chunk["loss"] == -1.0 and chunk["seconds"] > 0
    assert evaluation["step"] == 10 and evaluation["configurations"] == 640
    assert evaluation["evaluation"]["acceptance"] == {"value": 0.6, "error": 0.01}
    assert evaluation["evaluation"]["proposals"] == 4096
    assert evaluation["evaluation"]["seconds"] == 0.25


def test_a_checkpoint_brings_everything_back(make):
    observer = make()
    advance(observer, 10, 0.6)
    observer.save(state(10))
    ((step, metadata),) = observer._store.saved
    assert step == 10
    again = make(metadata)
    assert again.milestones == observer.milestones
    assert again.evaluation == observer.evaluation
    assert again.evaluation_seconds == 0.25
    assert metadata["configurations"] == 640
    again.evaluated(11, judged(0.8), 0.5)
    assert again.milestones["0.5"] == observer.milestones["0.5"]
    assert again.milestones["0.7"]["steps"] == 11
    assert again.milestones["0.7"]["configurations"] == 640
    assert again.evaluation_seconds == 0.75


def test_acceptance_of_a_step(make):
    observer = make()
    assert observer.acceptance_at(0) is None
    advance(observer, 10, 0.6)
    assert observer.acceptance_at(10) == Estimate(0.6, 0.01)
    assert observer.acceptance_at(11) is None


def test_an_evaluation_that_is_no_number_is_written_as_nothing(make):
    observer = make()
    advance(observer, 10, math.nan, error=math.nan, ess=math.inf)
    observer.save(state(10))
    ((_, metadata),) = observer._store.saved
    assert metadata["evaluation"]["acceptance"] == {"value": None, "error": None}
    assert metadata["evaluation"]["ess"]["value"] is None
    assert observer.acceptance_at(10) is None
    assert observer.milestones["0.5"] is None
    assert observer._run.metrics()[1]["evaluation"]["acceptance"]["value"] is None


def test_interruption(make):
    interruption = Interruption()
    observer = make(interruption=interruption)
    assert not observer.interrupted()
    interruption.tell(15)
    assert observer.interrupted()
