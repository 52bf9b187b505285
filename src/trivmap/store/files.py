"""Plain files on disk, written so that a kill or a full disk does not damage existing files."""

import contextlib
import errno
import io
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trivmap.errors import InputError
from trivmap.processes import is_main_process
from trivmap.store.folders import folder_of, inside, new_file, new_folder, sync
from trivmap.store.locks import try_lock
from trivmap.store.plain import open_plain, strange
from trivmap.store.sealed import ENVIRONMENT, new_identity, origin, seal

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would exceed the size limit",
}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


def _full(error: BaseException) -> str | None:
    """The reason why a write failed for lack of space, from an exception or one of its causes; otherwise None."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return _FULL[error.errno]
    # TensorStore, which orbax uses, gives the system's error only in its text.
    return next((reason for code, reason in _FULL.items() if os.strerror(code) in str(error)), None)


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn an error of the system while `path` is written ("no space", "not allowed") into one `InputError`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if reason := _full(error):
            raise InputError(
                f"{path}: {reason}; nothing written before was lost, make room and resume the run"
            ) from error
        if not isinstance(error, OSError):
            raise
        if error.errno in _REFUSED:
            raise InputError(f"{path}: cannot be written ({error.strerror}); choose a directory that can be") from error
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{path}: the name is too long for this file system; choose a shorter one") from error
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); nothing written before was lost, see what is "
            "wrong with its folder"
        ) from error


def lock(path: Path) -> tuple[int, bool]:
    """The open file at `path`, created if necessary, and whether this process has locked it: no other one holds it.

    The file is for locking and writing: raises `InputError` if it also has another name (a hard link).
    """
    with storing(path):
        descriptor = open_plain(path, os.O_RDWR | os.O_CREAT)
        if os.fstat(descriptor).st_nlink > 1:
            os.close(descriptor)
            raise InputError(f"{path}: has another name elsewhere (it is a hard link), so it is left alone; delete it")
        return descriptor, try_lock(descriptor)


def write_bytes(path: Path, content: bytes | io.BytesIO) -> None:
    """Replace `path` by the content, all or nothing: it is written beside it under another name, synced and renamed.

    Only the first of several processes of one run writes, here and in `append_bytes`.
    """
    if not is_main_process():
        return
    with storing(path), folder_of(path) as folder:
        with contextlib.suppress(FileNotFoundError):
            # A link or a pipe would simply be replaced, but a folder cannot be.
            if stat.S_ISDIR(mode := os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise InputError(strange(path, mode))
        # Always release the view: Python 3.12.1 crashes when it collects a view that an exception keeps (gh-111049).
        with (
            _named_at_the_end(path.name, folder) as (_, descriptor),
            os.fdopen(descriptor, "wb", closefd=False) as file,
            content.getbuffer() if isinstance(content, io.BytesIO) else memoryview(content) as view,
        ):
            file.write(view)


@contextlib.contextmanager
def _named_at_the_end(name: str, folder: int, *, replace: bool = True) -> Iterator[tuple[str, int]]:
    """A new file in an open folder, by its temporary name and open: it gets its `name` at the end of the block.

    It replaces what has the name, or without `replace` raises `FileExistsError`. It is removed if the block fails.
    """
    partial, descriptor = new_file(folder)
    try:
        yield partial, descriptor
        sync(descriptor)
        # Renamed before it is closed, since closing unlocks it.
        (os.replace if replace else _rename_to_new)(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial, dir_fd=folder)
        raise
    finally:
        os.close(descriptor)
    sync(folder)


def _rename_to_new(name: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
    """Rename a file; raises `FileExistsError` if the new name is taken, even at the last moment."""
    try:
        os.link(name, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links: only the time between the question and the renaming is left.
        with contextlib.suppress(FileNotFoundError):
            os.stat(new, dir_fd=dst_dir_fd, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from None
        os.replace(name, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
    else:
        os.unlink(name, dir_fd=src_dir_fd)


def require_absent(path: Path) -> None:
    """Raise `InputError` where a new file of the user's has no place: something is there, or its folder is not."""
    if os.path.lexists(path):
        raise InputError(_taken(path))
    if not path.parent.is_dir():
        raise InputError(f"{path}: {path.parent} is no directory; name a file in one that exists")


@contextlib.contextmanager
def new_large_file(path: Path) -> Iterator[Path]:
    """Make a new file piece by piece and all at once: the block fills the one at the path it is given.

    That is renamed at the end of the block, and removed where the block fails. Raises `InputError`, nothing touched, if
    `path` exists in whatever form.
    """
    require_absent(path)
    with storing(path), folder_of(path) as folder:
        try:
            with _named_at_the_end(path.name, folder, replace=False) as (partial, _):
                yield path.parent / partial
        except FileExistsError as error:
            raise InputError(_taken(path)) from error


def _taken(path: Path) -> str:
    return f"{path}: exists already; name another file, or delete this one"


def require_room(folder: Path, length: int) -> None:
    """Raise the system's error if a folder's disk has no room for so many bytes: they are allocated and freed."""
    with folder_of(folder / "any") as parent:
        name, descriptor = new_file(parent)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, length)
        finally:
            os.unlink(name, dir_fd=parent)
            os.close(descriptor)


def append_bytes(path: Path, piece: bytes, separator: bytes) -> None:
    """Append a piece to `path`, all or nothing, after `separator` if the file does not end in it."""
    if not is_main_process():
        return
    with storing(path):
        descriptor = open_plain(path, os.O_RDWR | os.O_CREAT)
        try:
            start = os.lseek(descriptor, 0, os.SEEK_END)
            if start and os.pread(descriptor, len(separator), max(0, start - len(separator))) != separator:
                piece = separator + piece
            if os.fstat(descriptor).st_nlink > 1:
                # The file has another name elsewhere, for example in a copy; that one must not change.
                write_bytes(path, os.pread(descriptor, start, 0) + piece)
                return
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
    """Replace `path` by a text, all or nothing. Halves of surrogate pairs, which no encoding allows, are escaped."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, data: Any, root: Path | None = None) -> None:
    """Replace `path` by JSON, all or nothing; an object gets its checksum. Numbers that are not finite are refused.

    `root` is the directory of the run if that is not the folder of the file.
    """
    text = json.dumps(data, indent=2, allow_nan=False) + "\n"
    if isinstance(data, Mapping):
        write_sealed_text(path, text, root)
    else:
        write_text(path, text)


def write_sealed_text(path: Path, text: str, root: Path | None = None) -> None:
    """Replace `path` by the text of a JSON object, all or nothing, with its origin and its checksum."""
    write_text(path, seal(text, origin(path, root)))


def write_environment(root: Path, content: Mapping[str, Any]) -> None:
    """Write `environment.json`, the first file of a new directory, with the identity that its other files name."""
    write_json(root / ENVIRONMENT, {"run": new_identity(), **content})


@contextlib.contextmanager
def new_directory(root: Path, way_on: str) -> Iterator[Path]:
    """Make `root` in one step: the block fills a temporary folder, which is renamed at its end.

    Raises `InputError`, with nothing touched, if `root` exists in any form (`way_on` is the command that continues it).
    An `InputError` of the block names `root` in place of the temporary folder.
    """
    taken = f"{root}: exists already; give another --out, or {way_on} {root}"
    if "\0" in str(root):
        raise InputError("--out: has a NUL character, which no file system allows; leave it out")
    if os.path.lexists(root):
        raise InputError(taken)
    with storing(root):
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(f"{root}: {root.parent} is not a directory; give another --out") from error
        with folder_of(root) as folder:
            name, descriptor = new_folder(folder)
            partial = root.parent / name
            try:
                with inside(partial):
                    os.fchmod(descriptor, 0o777 & ~_umask())
                    yield partial
                try:
                    os.rename(name, root.name, src_dir_fd=folder, dst_dir_fd=folder)
                except OSError as error:
                    if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                        raise InputError(taken) from error
                    raise
            except BaseException as error:
                remove_tree(partial)
                if isinstance(error, InputError):
                    # Name the directory that the user asked for, not the temporary one.
                    raise InputError(str(error).replace(str(partial), str(root))) from error
                raise
            finally:
                os.close(descriptor)
            sync(folder)


def remove_tree(folder: Path) -> None:
    """Remove a folder and what is in it, as far as that is possible; nothing is removed through a link."""
    with contextlib.suppress(OSError), folder_of(folder) as parent:
        shutil.rmtree(folder.name, ignore_errors=True, dir_fd=parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
