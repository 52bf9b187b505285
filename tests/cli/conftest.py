"""One complete run, made by the command line once for all workers."""

import fcntl
import os
import shutil

import pytest
import yaml

from tests.runs.support import trivmap

CARD = {
    "name": "small",
    "seed": 3,
    "lattice": [4],
    "action": {"kind": "phi4", "notation": "bosetti2015", "beta": 0.5, "lam": 0.5},
    "model": {
        "base": {"kind": "gaussian"},
        "maps": [{"kind": "affine", "couplings": 2, "network": {"kind": "dense", "hidden": [2]}}],
    },
    "training": {
        "steps": 40,
        "batch": 16,
        "optimizer": {"kind": "adam", "learning_rate": 0.01},
        "evaluate": {"every": 20},
        "checkpoint": {"every": 10},
        "chunk": 5,
    },
    "sampling": {
        "chains": 2,
        "proposals": 4000,
        "part": 500,
        "save_fields": True,
        "thin": 10,
        "batch": 500,
        "probe": False,
    },
    "measure": {"stages": {"proposals": 128}},
}


@pytest.fixture(scope="session")
def complete(tmp_path_factory):
    """The folder in which `trivmap run card.yaml --out run --json` was given, with its answer in answer.json."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "complete"
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            partial.mkdir()
            (partial / "card.yaml").write_text(yaml.safe_dump(CARD))
            done = trivmap("run", "card.yaml", "--out", "run", "--json", folder=partial)
            assert done.code == 0, done.err
            (partial / "answer.json").write_text(done.out)
            (partial / "said.txt").write_text(done.err)
            partial.rename(folder)
    return folder


@pytest.fixture
def copy(complete, tmp_path):
    """A folder with a copy of the complete run that a test may spoil."""
    folder = tmp_path / "copy"
    shutil.copytree(complete, folder)
    return folder
