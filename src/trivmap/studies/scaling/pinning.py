"""Processors of this machine, each given to one run of any study at a time."""

import contextlib
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from trivmap.runs.files import try_lock


class Share(NamedTuple):
    """The processors of a run, and the open files by which it claims them."""

    processors: list[int]
    claims: tuple[int, ...] = ()

    @property
    def exclusive(self) -> bool:
        """Whether no other run of any study of this user has been given one of the processors up to now."""
        return bool(self.claims) and not any(os.fstat(claim).st_size for claim in self.claims)


@contextlib.contextmanager
def processors_of_its_own(threads: int) -> Iterator[Share]:
    """So many processors that no other run has, for as long as the block runs; any where there are not enough.

    A run whose processors are taken by another one later is told by `Share.exclusive`. The system drops the claims with
    the process, so that a killed one leaves none behind.
    """
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    folder = Path(tempfile.gettempdir()) / f"trivmap-processors-{os.getuid()}"
    with contextlib.ExitStack() as held:
        mine: dict[int, int] = {}
        # Where there is nowhere to note them, processors are shared.
        with contextlib.suppress(OSError):
            folder.mkdir(exist_ok=True)
            for number in allowed:
                if len(mine) < threads and (claim := _claim(folder, number, held)) is not None:
                    mine[number] = claim
        if len(mine) == threads:
            yield Share(list(mine), tuple(mine.values()))
            return
        held.close()
        others = sorted(random.sample(allowed, min(threads, len(allowed))))
        with contextlib.suppress(OSError):
            for number in others:
                _join(folder, number, held)
        yield Share(others)


def _claim(folder: Path, number: int, held: contextlib.ExitStack) -> int | None:
    """The open file by which a processor is this run's, empty until another run joins; None if it is taken."""
    with contextlib.ExitStack() as opened:
        claim = _open(folder / str(number), opened)
        with contextlib.ExitStack() as briefly:
            if not try_lock(claim) or not try_lock(_open(folder / f"{number}.shared", briefly)):
                return None
            # What earlier runs wrote to earlier owners.
            os.ftruncate(claim, 0)
        held.push(opened.pop_all())
        return claim


def _join(folder: Path, number: int, held: contextlib.ExitStack) -> None:
    """Share a processor: nobody may claim it as long as this run has it, and who has claimed it is told."""
    shared = _open(folder / f"{number}.shared", held)
    while not try_lock(shared, shared=True):
        # Somebody claims it at this moment.
        time.sleep(0.01)
    with (folder / str(number)).open("ab") as claim:
        claim.write(b".")


def _open(path: Path, held: contextlib.ExitStack) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    held.callback(os.close, descriptor)
    return descriptor
