"""The folders that files are written in: always those that a command began with, and never through a link.

Inside a run, a comparison or a study no symbolic link is followed, since such a directory may come from somebody
else. The path of the directory itself may be a link.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from trivmap.errors import InputError
from trivmap.store.locks import flock

_LEFTOVER = re.compile(r"\.trivmap-[0-9a-f]{8}")
"""Files have such a name while they are being written."""
_NOT_SUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class _Held(NamedTuple):
    """A directory that a command works in: its name as given, its full path, and its open descriptor."""

    root: Path
    path: str
    descriptor: int


_HELD: ContextVar[tuple[_Held, ...]] = ContextVar("held", default=())


@contextlib.contextmanager
def inside(root: Path) -> Iterator[None]:
    """While the block runs, paths below `root` are read and written in the directory that `root` is now.

    Once it is moved, removed or replaced, reading or writing there raises `InputError`, and nothing is written.
    """
    path = os.path.abspath(root)
    if any(held.path == path for held in _HELD.get()):
        yield
        return
    with contextlib.ExitStack() as opened:
        outer = _innermost(path)
        if outer is None:
            descriptor = os.open(path, _FOLDER)
        else:
            descriptor = os.dup(_walked(outer, path, opened))
        opened.callback(os.close, descriptor)
        token = _HELD.set((*_HELD.get(), _Held(root, path, descriptor)))
        try:
            yield
        finally:
            _HELD.reset(token)


@contextlib.contextmanager
def folder_of(path: Path) -> Iterator[int]:
    """The open folder that contains `path`; below a directory that is held, no link is followed.

    Raises `InputError` if there is a link on the path, or if the directory was moved, removed or replaced.
    """
    parent = os.path.abspath(path.parent)
    outer = _innermost(parent)
    with contextlib.ExitStack() as opened:
        if outer is None:
            descriptor = os.open(parent, _FOLDER)
            opened.callback(os.close, descriptor)
        else:
            descriptor = _walked(outer, parent, opened)
        yield descriptor


def own_folder(folder: Path) -> None:
    """Make a folder of a run if it does not exist; raises `InputError` if something else is in its place."""
    with inside(folder.parent):
        if not is_folder(folder):
            with folder_of(folder) as parent, contextlib.suppress(FileExistsError):
                os.mkdir(folder.name, dir_fd=parent)


def is_folder(folder: Path) -> bool:
    """True if a folder of a run exists; raises `InputError` if something else is in its place."""
    try:
        with folder_of(folder) as parent:
            mode = os.stat(folder.name, dir_fd=parent, follow_symlinks=False).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISDIR(mode):
        raise InputError(_strange_folder(folder, mode))
    return True


def listed(folder: Path) -> list[str]:
    """The names in a folder of a run, none if it does not exist; raises `InputError` if it cannot be read."""
    if not is_folder(folder):
        return []
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error


def _innermost(path: str) -> _Held | None:
    around = [held for held in _HELD.get() if path == held.path or path.startswith(held.path.rstrip("/") + "/")]
    return max(around, key=lambda held: len(held.path), default=None)


def _walked(held: _Held, path: str, opened: contextlib.ExitStack) -> int:
    """The open folder at `path` below a held one, step by step and through no link."""
    _require_there(held)
    descriptor, at = held.descriptor, held.root
    for name in Path(os.path.relpath(path, held.path)).parts:
        at = at / name
        try:
            descriptor = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise InputError(_strange_folder(at, os.lstat(name, dir_fd=descriptor).st_mode)) from error
            raise
        opened.callback(os.close, descriptor)
    return descriptor


def _require_there(held: _Held) -> None:
    begun = os.fstat(held.descriptor)
    with contextlib.suppress(OSError):
        now = os.stat(held.path)
        if (now.st_dev, now.st_ino) == (begun.st_dev, begun.st_ino):
            return
    raise InputError(
        f"{held.root}: was moved, removed or replaced while this command worked in it; nothing more is written, so "
        "start the command again where the directory is now"
    )


def _strange_folder(folder: Path, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return f"{folder}: is a symbolic link, which trivmap does not follow here; put the folder itself in its place"
    return f"{folder}: is not a folder; move it away"


def new_file(folder: int) -> tuple[str, int]:
    """A new empty file in an open folder under an unused name, open for writing, and locked."""
    clear_leftovers(folder)
    while True:
        name = f".trivmap-{secrets.token_hex(4)}"
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=folder)
        if flock(descriptor) is not False and os.fstat(descriptor).st_nlink:
            return name, descriptor
        # Another process has removed it as a leftover before it was locked.
        os.close(descriptor)


def new_folder(folder: int) -> tuple[str, int]:
    """As `new_file`, for a folder that only its owner may open: its name, and the open folder."""
    clear_leftovers(folder)
    while True:
        name = f".trivmap-{secrets.token_hex(4)}"
        os.mkdir(name, 0o700, dir_fd=folder)
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            if flock(descriptor) is not False and os.fstat(descriptor).st_nlink:
                return name, descriptor
            os.close(descriptor)


def clear_leftovers(folder: int) -> None:
    """Remove incomplete files that ended processes have left in an open folder."""
    for name in filter(_LEFTOVER.fullmatch, os.listdir(folder)):
        with contextlib.suppress(OSError):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            try:
                if flock(descriptor):
                    _remove(name, os.fstat(descriptor).st_mode, folder)
            finally:
                os.close(descriptor)


def _remove(name: str, mode: int, folder: int) -> None:
    if stat.S_ISDIR(mode):
        shutil.rmtree(name, ignore_errors=True, dir_fd=folder)
    elif stat.S_ISREG(mode):
        os.unlink(name, dir_fd=folder)


def sync(descriptor: int) -> None:
    """Make an open file, or the renames in an open folder, durable, if the file system supports it."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
