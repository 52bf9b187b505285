"""Processors are given to one run at a time, and who has to share them is told."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from trivmap.store.files import try_lock
from trivmap.studies.scaling import pinning
from trivmap.studies.scaling.pinning import share_of_processors

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not tell its processors")

HOLD = """
import pathlib, sys
from trivmap.studies.scaling import pinning
pinning.FOLDER = pathlib.Path(sys.argv[1])
with pinning.share_of_processors(int(sys.argv[2])) as share:
    print(share.exclusive, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(pinning, "FOLDER", tmp_path)
    return tmp_path


def holder(folder, threads):
    """Another process that holds so many processors, and what it says of them."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, process.stdout.readline().strip()


def test_no_processor_is_given_twice():
    allowed = os.sched_getaffinity(0)
    with share_of_processors(1) as first:
        assert first.exclusive and len(first.processors) == 1
        if len(allowed) > 1:
            with share_of_processors(1) as second:
                assert second.exclusive and not set(second.processors) & set(first.processors)
        assert first.exclusive
    with share_of_processors(len(allowed)) as all_of_them:
        assert all_of_them.exclusive and set(all_of_them.processors) == allowed


@pytest.mark.parametrize("threads", [len(os.sched_getaffinity(0)), None])
def test_who_has_to_share_is_told(threads):
    allowed = os.sched_getaffinity(0)
    with share_of_processors(1) as first:
        with share_of_processors(threads) as too_many:
            assert not too_many.exclusive and set(too_many.processors) == allowed
            assert not first.exclusive
            # Not even a processor that nobody has claimed.
            with share_of_processors(1) as late:
                assert not late.exclusive
        assert not first.exclusive
        if len(allowed) > 1:
            # What too many had is free again.
            with share_of_processors(1) as second:
                assert second.exclusive and not set(second.processors) & set(first.processors)
    # What the first one was told does not concern the next.
    with share_of_processors(len(allowed)) as next_one:
        assert next_one.exclusive


def test_a_killed_process_leaves_no_claim(folder):
    every = len(os.sched_getaffinity(0))
    process, said = holder(folder, every)
    assert said == "True"
    with share_of_processors(every) as share:
        assert not share.exclusive
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with share_of_processors(every) as share:
        assert share.exclusive


def test_another_process_tells_who_has_the_processors(folder):
    every = len(os.sched_getaffinity(0))
    with share_of_processors(every) as share:
        process, said = holder(folder, 1)
        process.communicate()
        assert said == "False" and not share.exclusive


def test_who_joins_waits_for_who_claims(folder):
    """The claim would be emptied after the joining run has written to it."""
    with share_of_processors(None):
        pass
    path = next(folder.glob("*/*.shared"))
    claiming = os.open(path, os.O_RDWR)
    assert try_lock(claiming)
    threading.Timer(0.3, os.close, [claiming]).start()
    with share_of_processors(None):
        other = os.open(path, os.O_RDWR)
        assert not try_lock(other)
        os.close(other)


def test_claims_that_were_removed_say_nothing(folder):
    with share_of_processors(1) as share:
        for path in folder.glob("*/*"):
            path.unlink()
        assert not share.exclusive


def test_where_nothing_can_be_noted_they_are_shared(monkeypatch, folder):
    monkeypatch.setattr(pinning, "FOLDER", folder / "a file")
    (folder / "a file").write_text("")
    with share_of_processors(1) as share:
        assert not share.exclusive and len(share.processors) == 1


def test_what_others_have_put_there_is_left_alone(folder):
    precious, place = folder / "precious", folder / f"trivmap-processors-{os.getuid()}"
    precious.write_text("all I have")
    place.mkdir()
    for number in os.sched_getaffinity(0):
        (place / str(number)).symlink_to(precious)
    with share_of_processors(1) as share:
        assert not share.exclusive
    assert precious.read_text() == "all I have"
    place.rename(folder / "old")
    place.mkdir()
    place.chmod(0o777)
    with share_of_processors(1) as share:
        assert not share.exclusive and not any(place.iterdir())
