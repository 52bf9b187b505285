"""Processors are given to one run at a time."""

import os
import tempfile

import pytest

from trivmap.studies.scaling.pinning import processors_of_its_own

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not tell its processors")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_no_processor_is_given_twice():
    allowed = os.sched_getaffinity(0)
    with processors_of_its_own(1) as first:
        assert first.exclusive and len(first.processors) == 1
        if len(allowed) > 1:
            with processors_of_its_own(1) as second:
                assert second.exclusive and not set(second.processors) & set(first.processors)
        assert first.exclusive
    with processors_of_its_own(len(allowed)) as all_of_them:
        assert all_of_them.exclusive and set(all_of_them.processors) == allowed


def test_who_has_to_share_is_told():
    allowed = os.sched_getaffinity(0)
    with processors_of_its_own(1) as first:
        with processors_of_its_own(len(allowed)) as too_many:
            assert not too_many.exclusive and set(too_many.processors) == allowed
            assert not first.exclusive
            # Not even a processor that nobody has claimed.
            with processors_of_its_own(1) as late:
                assert not late.exclusive
        assert not first.exclusive
        if len(allowed) > 1:
            # What too many had is free again.
            with processors_of_its_own(1) as second:
                assert second.exclusive and not set(second.processors) & set(first.processors)
    # What the first one was told does not concern the next.
    with processors_of_its_own(len(allowed)) as next_one:
        assert next_one.exclusive


def test_where_nothing_can_be_noted_they_are_shared(monkeypatch, folder):
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "a file"))
    (folder / "a file").write_text("")
    with processors_of_its_own(1) as share:
        assert not share.exclusive and len(share.processors) == 1
