"""Processors of this machine, each given to one run of any study at a time."""

import contextlib
import os
import random
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from trivmap.ahead import processors
from trivmap.store.locks import try_lock

FOLDER = Path("/tmp")
"""The parent folder of claims: the same for all of a user's runs, for any TMPDIR."""
_PATIENCE = 5.0
"""Seconds to wait for a run that is just claiming a processor."""


class Share(NamedTuple):
    """The processors of a run, and the open files by which it claims them."""

    processors: list[int]
    claims: tuple[int, ...] = ()

    @property
    def exclusive(self) -> bool:
        """True if no other run of this user's studies got one of the processors while they were held."""
        return bool(self.claims) and all(_untouched(os.fstat(claim)) for claim in self.claims)


@contextlib.contextmanager
def share_of_processors(threads: int | None) -> Iterator[Share]:
    """`threads` processors that no other run has, while the block runs; shared ones if there are not enough.

    None shares all processors. `Share.exclusive` shows if another run takes this run's processors later. The system
    releases the claims when the process ends, even if it is killed.
    """
    affinity = hasattr(os, "sched_getaffinity")
    allowed = sorted(os.sched_getaffinity(0)) if affinity else list(range(processors()))
    share = Share(allowed if threads is None else sorted(random.sample(allowed, min(threads, len(allowed)))))
    with contextlib.ExitStack() as held:
        # If claims cannot be recorded, processors are shared.
        with contextlib.suppress(OSError):
            folder = _folder(held)
            claims = _claims(folder, allowed, threads, held) if affinity and threads is not None else {}
            if claims:
                share = Share(list(claims), tuple(claims.values()))
            else:
                for number in share.processors:
                    _join(folder, number, held)
        yield share


def _folder(held: contextlib.ExitStack) -> int:
    """The open folder of the claims; `PermissionError` if another user has made it."""
    path = FOLDER / f"trivmap-processors-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    held.callback(os.close, folder)
    found = os.fstat(folder)
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{path} is not this user's alone")
    return folder


def _claims(folder: int, allowed: list[int], threads: int, held: contextlib.ExitStack) -> dict[int, int]:
    """The open files that claim `threads` processors for this run; none if there are not enough."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
        claims: dict[int, int] = {}
        for number in allowed:
            if len(claims) < threads and (claim := _claim(folder, number, opened)) is not None:
                claims[number] = claim
        if len(claims) == threads:
            held.push(opened.pop_all())
            return claims
    return {}


def _claim(folder: int, number: int, held: contextlib.ExitStack) -> int | None:
    """The open file that claims a processor for this run, empty until another run joins; None if it is taken."""
    with contextlib.ExitStack() as opened:
        claim = _open(folder, str(number), opened)
        with contextlib.ExitStack() as briefly:
            if not try_lock(claim) or not try_lock(_open(folder, f"{number}.shared", briefly)):
                return None
            # Remove claims of earlier runs on earlier owners.
            os.ftruncate(claim, 0)
        held.push(opened.pop_all())
        return claim


def _join(folder: int, number: int, held: contextlib.ExitStack) -> None:
    """Share a processor: no run may claim it while this run has it, and its owner learns that it is shared."""
    shared = _open(folder, f"{number}.shared", held)
    deadline = time.monotonic() + _PATIENCE
    while not try_lock(shared, shared=True) and time.monotonic() < deadline:
        # Another process is just claiming it.
        time.sleep(0.01)
    with contextlib.ExitStack() as briefly:
        os.write(_open(folder, str(number), briefly), b".")


def _open(folder: int, name: str, held: contextlib.ExitStack) -> int:
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    held.callback(os.close, descriptor)
    return descriptor


def _untouched(claim: os.stat_result) -> bool:
    """True if no run has joined, and the file was not removed, which would hide the claim from others."""
    return claim.st_size == 0 and claim.st_nlink > 0
