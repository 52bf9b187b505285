"""What the tests of this floor share: a small card, a record of what is on disk, a full disk, processes to kill."""

import contextlib
import hashlib
import multiprocessing
import multiprocessing.reduction
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CARD = {
    "lattice": [4, 4],
    "action": {"kind": "phi4", "notation": "bosetti2015", "beta": 0.5, "lam": 0.5},
    "model": {
        "base": {"kind": "gaussian"},
        "maps": [{"kind": "affine", "couplings": 2, "network": {"kind": "dense", "hidden": ["0.5V"]}}],
    },
    "training": {"steps": 200, "batch": 64, "optimizer": {"kind": "adam", "learning_rate": 1e-3}},
    "sampling": {"chains": 2, "proposals": 4000, "probe": False},
}

RING = {
    "seed": 3,
    "lattice": [8],
    "action": {"kind": "phi4", "notation": "bosetti2015", "beta": 0.9, "lam": 0.5},
    "training": {
        "steps": 6,
        "batch": 128,
        "optimizer": {"kind": "gauss-newton"},
        "evaluate": {"every": 3},
        "chunk": 1,
    },
}
"""phi^4 on a ring, whose numbers the transfer matrix gives; what tests add is the model, and the ladder."""


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
    [
        "trivmap.cli.results",
        "trivmap.cli.display",
        "trivmap.runs.sampling",
        "orbax.checkpoint",
        "h5py",
        "pyerrors",
        "pytest",
    ]
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


class Command:
    """`trivmap ARGUMENTS` in a process of its own, whose output goes to files and whose writes may be limited."""

    def __init__(self, *arguments: object, folder: Path, file_limit: int | None = None):
        self._files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
        descriptors = tuple(multiprocessing.reduction.DupFd(file.fileno()) for file in self._files)
        self._process = _PROCESSES.Process(
            target=_trivmap, args=([str(a) for a in arguments], folder, descriptors, file_limit)
        )
        self._process.start()

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    def signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def result(self, timeout: float = 120) -> SimpleNamespace:
        """Exit `code` (minus the signal that ended it), `out` and `err`."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, "still running"
        texts = []
        for file in self._files:
            file.seek(0)
            texts.append(file.read().decode())
            file.close()
        return SimpleNamespace(code=self._process.exitcode, out=texts[0], err=texts[1])


def trivmap(*arguments: object, folder: Path, **options: Any) -> SimpleNamespace:
    """Run a command to its end."""
    return Command(*arguments, folder=folder, **options).result()


def _trivmap(arguments: list[str], folder: Path, descriptors: tuple, file_limit: int | None) -> None:
    for number, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor.detach(), number)
    sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
    os.chdir(folder)
    sys.argv = ["trivmap", *arguments]
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    import jax

    from trivmap.cli import main

    # Most of what a small run compiles is small.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    main()


def _announcing(work: Callable[..., None], folder: Path, send: Any) -> None:
    work(folder, send.send)
