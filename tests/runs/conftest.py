"""Fixtures of this floor."""

import subprocess

import jax
import pytest

from tests.runs.small_run import copied, created
from tests.runs.support import CARD, RING
from trivmap.cards.card import RunCard
from trivmap.runs import pipeline, sampling
from trivmap.runs.train import train

EVEN = RING | {
    "model": {
        "sites": "even",
        "base": {"kind": "free-field"},
        "maps": [{"kind": "continuous", "steps": 4, "kernel": {"radius": 2, "masses": [1.0]}}],
    },
    "sampling": {"chains": 2, "proposals": 6000, "part": 1100, "save_fields": True, "thin": 3, "probe": False},
}


@pytest.fixture
def card() -> RunCard:
    return RunCard.from_data(CARD)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB where this machine lets us mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting is not permitted here; the test of the size limit covers the same code")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def optax_mixes_dtypes():
    """Its schedules and Adam raise a float to an integer power, which the strict promotion of the tests refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    run = created(tmp_path_factory.mktemp("runs") / "trained")
    train(run)
    return run


@pytest.fixture(scope="session")
def sampled(trained, tmp_path_factory):
    run = copied(trained, tmp_path_factory.mktemp("runs") / "sampled")
    sampling.sample(run)
    return run


@pytest.fixture(scope="session")
def even(tmp_path_factory):
    """A continuous map of the even sites, untrained, whose parts are no whole batches."""
    data = {key: value for key, value in EVEN.items() if key != "training"}
    run = pipeline.create(RunCard.from_data(data), tmp_path_factory.mktemp("even") / "run")
    sampling.sample(run)
    return run
