"""The order of runs on this machine, with processes that only pretend to work."""

import os
import signal
from typing import ClassVar

import pytest
import yaml

from tests.studies.scaling.small_study import small
from trivmap.runs.progress import Interrupted
from trivmap.studies.scaling import local
from trivmap.studies.scaling.card import load_study_card
from trivmap.studies.scaling.directory import StudyDirectory


class Pretended:
    """Ends when it is asked a third time; fails as often as `failing` says."""

    running: ClassVar[list] = []
    begun: ClassVar[list] = []
    stopped: ClassVar[list] = []
    failing: ClassVar[dict] = {}

    def __init__(self, directory, name, *, trust):
        self.directory, self.name, self.asked = directory, name, 0
        self.running.append(name)
        self.begun.append((name, list(self.running)))

    @property
    def ended(self):
        self.asked += 1
        return self.asked > 2

    def failure(self):
        self.running.remove(self.name)
        if self.failing.get(self.name, 0) > 0:
            self.failing[self.name] -= 1
            return "no message"
        self.directory.complete(self.name, {})
        return None

    def stop(self):
        self.stopped.append(self.name)

    def wait(self, seconds=None):
        assert seconds is not None and seconds <= 10


@pytest.fixture
def pretended(monkeypatch):
    for name in ("running", "begun", "stopped"):
        monkeypatch.setattr(Pretended, name, [])
    monkeypatch.setattr(Pretended, "failing", {})
    monkeypatch.setattr(local, "Attempt", Pretended)
    monkeypatch.setattr(local.time, "sleep", lambda seconds: None)
    return Pretended


def study(folder, **changes):
    (folder / "card.yaml").write_text(yaml.safe_dump(small(**changes)))
    return StudyDirectory.create(folder / "study", load_study_card(folder / "card.yaml"))


def test_every_run_is_done_so_many_at_a_time(tmp_path, pretended):
    directory = study(tmp_path, seeds=list(range(100)))
    assert local.run_here(directory, 3) == {} and directory.incomplete() == []
    assert len(pretended.begun) == 200 and max(len(running) for _, running in pretended.begun) == 3


def test_a_run_waits_for_the_one_it_starts_from_while_others_go_on(tmp_path, pretended):
    directory = study(tmp_path, seeds=[0, 1])
    local.run_here(directory, 2)
    assert [running for _, running in pretended.begun[:2]] == [
        ["fourier_L4_seed0"],
        ["fourier_L4_seed0", "fourier_L4_seed1"],
    ]
    assert [name for name, _ in pretended.begun[2:]] == ["fourier_L6_seed0", "fourier_L6_seed1"]


def test_what_fails_is_tried_again_and_takes_what_starts_from_it_along(tmp_path, pretended):
    directory = study(tmp_path, seeds=[0, 1], retries=2)
    pretended.failing.update({"fourier_L4_seed0": 3, "fourier_L4_seed1": 2})
    assert local.run_here(directory, 1) == {
        "fourier_L4_seed0": "no message",
        "fourier_L6_seed0": "it starts from fourier_L4_seed0, which failed",
    }
    begun = [name for name, _ in pretended.begun]
    assert (begun.count("fourier_L4_seed0"), begun.count("fourier_L4_seed1")) == (3, 3)
    assert begun.count("fourier_L6_seed0") == 0


def test_a_signal_stops_what_runs(tmp_path, pretended):
    directory = study(tmp_path, seeds=[0, 1])
    with pytest.raises(Interrupted, match="continue with trivmap study --resume"):
        local.run_here(directory, 2, watching=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert pretended.stopped == ["fourier_L4_seed0", "fourier_L4_seed1"]
