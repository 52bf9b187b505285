"""Reading of plain files: links are not followed, and only plain files are opened."""

import contextlib
import errno
import hashlib
import os
import stat
from pathlib import Path

from trivmap.errors import InputError
from trivmap.store.folders import folder_of

_PIECE = 1 << 20


def open_plain(path: Path, flags: int) -> int:
    """The open file at `path`, which must be a plain file: raises `InputError` for a link, folder, pipe or device.

    Anything else is not opened at all, since opening it may wait for ever or have side effects.
    """
    with folder_of(path) as folder:
        with contextlib.suppress(FileNotFoundError):
            _require_plain(path, os.stat(path.name, dir_fd=folder, follow_symlinks=False))
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(path.name, flags, 0o666, dir_fd=folder)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise InputError(strange(path, stat.S_IFLNK)) from error
            raise
    try:
        _require_plain(path, os.fstat(descriptor))
    except InputError:
        os.close(descriptor)
        raise
    return descriptor


def is_file(path: Path) -> bool:
    """True if a file of a run exists; an `InputError` if something else is in its place, or access is denied."""
    try:
        with folder_of(path) as folder:
            _require_plain(path, os.stat(path.name, dir_fd=folder, follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    return True


def read_bytes(path: Path) -> bytes:
    """The content of a plain file; an `InputError` if it cannot be read, `FileNotFoundError` if there is none."""
    try:
        with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); check its permissions and the disk"
        ) from error


def size(path: Path) -> int:
    """Bytes of a file, 0 if there is none."""
    if not is_file(path):
        return 0
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        return os.fstat(file.fileno()).st_size


def sha256(path: Path, length: int | None = None) -> str:
    """The hash of a file, or of its first `length` bytes, in hexadecimal digits."""
    found = hashlib.sha256()
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        while piece := file.read(_PIECE if length is None else min(_PIECE, length)):
            found.update(piece)
            length = None if length is None else length - len(piece)
    return found.hexdigest()


def _require_plain(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise InputError(strange(path, found.st_mode))


def strange(path: Path, mode: int) -> str:
    """A sentence about something that is not a plain file."""
    if stat.S_ISLNK(mode):
        return f"{path}: is a symbolic link, which trivmap does not follow here; put the file itself in its place"
    if stat.S_ISDIR(mode):
        return f"{path}: is a folder where a file belongs; move it away"
    return f"{path}: is a pipe, a socket or a device where a file belongs; move it away"
