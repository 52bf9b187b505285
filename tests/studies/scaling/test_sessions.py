"""What a run of a study notes of its processors."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.studies.scaling.small_study import small, wait_until
from trivmap.runs.progress import Interrupted
from trivmap.studies.scaling import pinning
from trivmap.studies.scaling.card import StudyCard
from trivmap.studies.scaling.directory import StudyDirectory

FIRST = "fourier_L4_seed0"
WAITING_RUN = """
import pathlib, sys
from trivmap.cli.study import run_one
from trivmap.runs import pipeline
from trivmap.studies.scaling import pinning
folder, begun, root, name = sys.argv[1:]
pinning.FOLDER, create = pathlib.Path(folder), pipeline.create
def waiting(*which):
    pathlib.Path(begun).touch()
    sys.stdin.read()
    return create(*which)
pipeline.create = waiting
run_one(pathlib.Path(root), name, False)
"""


@pytest.fixture
def directory(tmp_path):
    return StudyDirectory.create(tmp_path / "noted", StudyCard.from_data(small()))


def noted(directory):
    return json.loads((directory.sessions_path / f"{FIRST}.json").read_text())


def test_it_is_known_at_the_end_and_a_kill_leaves_that_it_is_not(directory):
    with directory.session(FIRST, lambda: True) as sessions:
        assert noted(directory) == [False]
    assert sessions == noted(directory) == [True]
    with pytest.raises(KeyboardInterrupt), directory.session(FIRST, lambda: False) as sessions:
        raise KeyboardInterrupt
    assert sessions == noted(directory) == [True, False]


def test_what_ended_the_work_is_said_though_it_cannot_be_noted(directory):
    def interrupted():
        with directory.session(FIRST, lambda: True):
            shutil.rmtree(directory.sessions_path)
            raise Interrupted(2, "on purpose")

    with pytest.raises(Interrupted):
        interrupted()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not tell its processors")
@pytest.mark.parametrize("joined", [False, True])
def test_a_run_knows_whether_it_was_joined(directory, tmp_path, monkeypatch, joined):
    monkeypatch.setattr(pinning, "FOLDER", tmp_path)
    begun = tmp_path / "begun"
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING_RUN, tmp_path, begun, directory.root, FIRST],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    wait_until(begun.exists)
    if joined:
        with pinning.share_of_processors(None):
            pass
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert directory.done(FIRST)["exclusive"] == (not joined)
    assert len(directory.done(FIRST)["processors"]) == 1
