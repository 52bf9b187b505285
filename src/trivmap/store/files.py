"""Writing to disk so that a kill or a full disk spoils nothing that was there."""

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trivmap.errors import InputError
from trivmap.processes import first

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would exceed the size limit",
}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


def _full(error: BaseException) -> str | None:
    """Why the disk took no more, if that is what an exception says, wherever it comes from."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return _FULL[error.errno]
    # TensorStore, under orbax, has the system's error only in its text.
    return next((reason for code, reason in _FULL.items() if os.strerror(code) in str(error)), None)


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn "no space" and "not allowed" met while `path` is written into one `InputError`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if reason := _full(error):
            raise InputError(
                f"{path}: {reason}; nothing written before was lost, make room and resume the run"
            ) from error
        if isinstance(error, OSError) and error.errno in _REFUSED:
            raise InputError(f"{path}: cannot be written ({error.strerror}); choose a directory that can be") from error
        raise


def write_bytes(path: Path, content: bytes | io.BytesIO) -> None:
    """Replace `path` by the content, all or nothing: written beside it under another name, synced and renamed.

    Of several processes of one run the first writes, here and in `append_bytes`; in the others nothing happens.
    """
    if not first():
        return
    partial = path.with_name(f".{path.name}.partial")
    with storing(path):
        try:
            with partial.open("wb") as file:
                # Given back whatever happens: Python 3.12.1 crashes when it collects a view that an exception keeps
                # (gh-111049).
                with content.getbuffer() if isinstance(content, io.BytesIO) else memoryview(content) as view:
                    file.write(view)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
        sync_folder(path.parent)


def append_bytes(path: Path, piece: bytes, separator: bytes) -> None:
    """Add a piece to the end of `path`, wholly or not at all, after `separator` if what is there does not end in it."""
    if not first():
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        start = os.lseek(descriptor, 0, os.SEEK_END)
        if start and os.pread(descriptor, len(separator), max(0, start - len(separator))) != separator:
            piece = separator + piece
        try:
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except OSError:
            os.ftruncate(descriptor, start)
            raise
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by a text, all or nothing."""
    write_bytes(path, text.encode())


def write_json(path: Path, data: Any) -> None:
    """Replace `path` by JSON, all or nothing. Numbers that are not finite are refused: JSON has none."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, remedy: str) -> Any:
    """The JSON in `path`; an `InputError` ending in `remedy` where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: is missing; {remedy}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is damaged; {remedy}") from error


@contextlib.contextmanager
def new_directory(root: Path, way_on: str) -> Iterator[Path]:
    """Make `root` all at once: the block fills the folder it is given, which is renamed at its end.

    Raises `InputError`, nothing touched, if `root` exists in whatever form (`way_on` says what then), and for what the
    block refuses, told of `root`.
    """
    taken = f"{root}: exists already; give another --out, or {way_on} {root}"
    if os.path.lexists(root):
        raise InputError(taken)
    with storing(root):
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(f"{root}: {root.parent} is no directory; give another --out") from error
        partial = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
        try:
            partial.chmod(0o777 & ~_umask())
            yield partial
            try:
                partial.rename(root)
            except OSError as error:
                if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise InputError(taken) from error
                raise
        except BaseException as error:
            shutil.rmtree(partial, ignore_errors=True)
            if isinstance(error, InputError):
                # Of the directory that was asked for, not of the one it was prepared in.
                raise InputError(str(error).replace(str(partial), str(root))) from error
            raise
        sync_folder(root.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file for this process, if no other one holds it; the system drops the lock with the process."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The hash of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
