"""Fixtures of this floor."""

import subprocess

import pytest

from tests.runs.support import CARD
from trivmap.runs.card import RunCard


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
