"""Processors of this machine, each given to one run of any study at a time."""

import contextlib
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from trivmap.runs.files import try_lock


class Share(NamedTuple):
    """The processors of a run; `exclusive` says that no other run of any study of this user was given one of them."""

    processors: list[int]
    exclusive: bool


@contextlib.contextmanager
def processors_of_its_own(threads: int) -> Iterator[Share]:
    """So many processors that no other run has, for as long as the block runs; any where there are not enough.

    The system drops the claim with the process, so that a killed one leaves none behind.
    """
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    with contextlib.ExitStack() as held:
        mine: list[int] = []
        # Where there is nowhere to note them, processors are shared.
        with contextlib.suppress(OSError):
            folder = Path(tempfile.gettempdir()) / f"trivmap-processors-{os.getuid()}"
            folder.mkdir(exist_ok=True)
            for number in allowed:
                if len(mine) < threads and _claimed(folder / str(number), held):
                    mine.append(number)
        if len(mine) < threads:
            held.close()
            yield Share(sorted(random.sample(allowed, min(threads, len(allowed)))), False)
        else:
            yield Share(mine, True)


def _claimed(path: Path, held: contextlib.ExitStack) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if try_lock(descriptor):
        held.callback(os.close, descriptor)
        return True
    os.close(descriptor)
    return False
