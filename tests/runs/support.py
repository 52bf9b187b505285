"""What the tests of this floor share: a small card, a record of what is on disk, a full disk, processes to kill."""

import contextlib
import hashlib
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CARD = {
    "lattice": [4, 4],
    "action": {"kind": "phi4", "notation": "bosetti2015", "beta": 0.5, "lam": 0.5},
    "model": {
        "base": {"kind": "gaussian"},
        "maps": [{"kind": "affine", "couplings": 2, "network": {"kind": "dense", "hidden": ["0.5V"]}}],
    },
    "training": {"steps": 200, "batch": 64, "optimiser": {"kind": "adam", "learning_rate": 1e-3}},
    "sampling": {"chains": 2, "proposals": 4000},
}


def contents(folder: Path) -> dict[str, str]:
    """Name and hash of every file below a folder, to see that nothing was changed or lost."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@contextlib.contextmanager
def no_file_larger_than(size: int):
    """A disk that takes no more, for this process: writes beyond `size` bytes fail with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# Processes are forked from one that has imported everything, so that killing many of them costs little.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    ["trivmap.runs.checkpoints", "trivmap.runs.directory", "trivmap.runs.samples", "orbax.checkpoint", "h5py", "pytest"]
)


def kill_while_working(work: Callable[..., None], folder: Path, delay: float, meanwhile: Any = None) -> Any:
    """Run `work(folder, announce)` in a process of its own, kill it `delay` seconds after it first announced something.

    `meanwhile(announced)` is called in between. Returns the last thing announced.
    """
    receive, send = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=_announcing, args=(work, folder, send))
    process.start()
    send.close()
    announced = receive.recv()
    try:
        if meanwhile:
            meanwhile(announced)
        time.sleep(delay)
    finally:
        process.kill()
        process.join()
    with contextlib.suppress(EOFError):
        while True:
            announced = receive.recv()
    receive.close()
    process.close()
    return announced


def _announcing(work: Callable[..., None], folder: Path, send: Any) -> None:
    work(folder, send.send)
