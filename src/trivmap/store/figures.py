"""The folder of figures in a directory, and the list of those that trivmap has written there."""

import contextlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256 as hashed
from pathlib import Path

from trivmap.errors import InputError
from trivmap.processes import is_main_process
from trivmap.store.files import storing, write_bytes
from trivmap.store.folders import folder_of, inside, listed, own_folder
from trivmap.store.locks import wait_for
from trivmap.store.plain import is_file, read_bytes, sha256

FOLDER = "figures"
_LIST = "written.json"
"""The names of the files that were written, each with the SHA-256 of its content, or of several while it is renewed."""


def figure_formats(root: Path, names: Collection[str] = ()) -> set[str]:
    """The suffixes of the figures that trivmap has written, without a point; `names` as in `write_figures`."""
    with inside(root):
        return {name.rpartition(".")[2] for name in _own(root / FOLDER, names)}


def write_figures(root: Path, files: Mapping[str, bytes], names: Collection[str] = ()) -> None:
    """Write files by name into the folder of figures, each all or nothing, and remove others that trivmap has written.

    Only the first of several processes writes. Two that write into one folder do so one after the other.

    Args:
        root: the directory.
        files: the content of each file.
        names: files that are taken for trivmap's where there is no list of them, as in directories of early versions.

    Raises:
        InputError: if a file of such a name is the user's own, before anything is written.
    """
    if not is_main_process():
        return
    folder = root / FOLDER
    with storing(folder), inside(root):
        own_folder(folder)
        with _alone(folder):
            own = _own(folder, names)
            for name in files:
                if name not in own and os.path.lexists(folder / name):
                    raise InputError(
                        f"{folder / name}: was not written by trivmap, or was changed since; move it out of this folder"
                    )
            new = {name: [hashed(content).hexdigest()] for name, content in files.items()}
            # Complete at any moment: the process may end between two files.
            _note(folder, {name: [*own.get(name, []), *new.get(name, [])] for name in {*own, *new}})
            for name, content in files.items():
                write_bytes(folder / name, content)
            with folder_of(folder / _LIST) as opened:
                for name in own.keys() - new.keys():
                    os.unlink(name, dir_fd=opened)
            _note(folder, new)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While the block runs, no other process writes figures into the folder."""
    with folder_of(folder / _LIST) as opened:
        wait_for(opened)
        yield


def _own(folder: Path, names: Collection[str]) -> dict[str, list[str]]:
    """The files in the folder that trivmap has written and nobody has changed, with their hashes."""
    there = set(listed(folder))
    if _LIST not in there:
        return {name: [sha256(folder / name)] for name in sorted(there & set(names)) if is_file(folder / name)}
    try:
        noted = json.loads(read_bytes(folder / _LIST))["files"]
        written = {name: list(sums) for name, sums in noted.items() if name in there}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{folder / _LIST}: is damaged; delete the folder, whose figures trivmap report draws again"
        ) from error
    return {name: sums for name, sums in written.items() if is_file(folder / name) and sha256(folder / name) in sums}


def _note(folder: Path, files: Mapping[str, list[str]]) -> None:
    write_bytes(folder / _LIST, json.dumps({"schema": 1, "files": dict(sorted(files.items()))}, indent=1).encode())
