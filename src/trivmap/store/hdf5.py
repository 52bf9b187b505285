"""HDF5 files of a run: how one is opened, and checksums for the content that HDF5 itself does not cover."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trivmap.errors import InputError
from trivmap.store.plain import is_file
from trivmap.store.sealed import digest, require_seal

SUM = "sha256"
"""The attribute that holds the checksum of a file or of a group in it."""
UNREADABLE = (OSError, KeyError, RuntimeError, TypeError, AttributeError, UnicodeError, json.JSONDecodeError)
"""Errors of h5py for a damaged file."""
_FLETCHER = 4
"""Bytes of the checksum at the end of each HDF5 chunk."""


def open_hdf5(path: Path, *, again: bool = False) -> Any:
    """A plain HDF5 file with all its data, open for reading. Raises `OSError` if it is not HDF5 or data are missing.

    The file must not refer to other files, nor declare more data than it stores. Raises `InputError` for a reference to
    another file, and if the file cannot be read at all. `again`: this process has checked the file before.
    """
    file = _opened(path)
    if again:
        return file
    try:
        _require_whole(file, path)
    except (InputError, OSError):
        file.close()
        raise
    except (*UNREADABLE, ValueError) as error:
        file.close()
        raise OSError(f"{path}: {error}") from error
    return file


def read_attributes(path: Path, remedy: str, root: Path) -> dict[str, Any]:
    """The attributes of a file, whose datasets are not opened; raises as `open_hdf5`, and if they were altered."""
    with _opened(path) as file:
        require_sum(file, lambda held: digest(attributes_of(held)), path, remedy, root)
        return attributes_of(file)


def _opened(path: Path) -> Any:
    """Open without HDF5's locks: our files never change after they are written, and some file systems have no locks."""
    import h5py

    if not is_file(path):
        raise FileNotFoundError(path)
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if error.errno:
            raise unreadable(path, error) from error
        raise


def _require_whole(file: Any, path: Path) -> None:
    """Check the layout without reading data: reading may open another file, or wait for a pipe for ever."""
    import h5py

    for name, held in contents(file):
        dataset = isinstance(held, h5py.Dataset)
        if held is None or (dataset and (held.external or held.is_virtual)):
            raise InputError(
                f"{path}: {name!a} is a link or lies in another file, which trivmap does not follow here; put the data "
                "themselves in its place"
            )
        if not (dataset or isinstance(held, h5py.Group)):
            raise OSError(f"{name!a} is neither a group nor a dataset")
        # HDF5 would fill missing data of any size with zeros. We do not compress.
        if dataset and (
            held.dtype.kind not in "biufc" or held.id.get_storage_size() < math.prod(held.shape) * held.dtype.itemsize
        ):
            raise OSError(f"{name!a} is not whole")


def contents(group: Any) -> Iterator[tuple[str, Any]]:
    """Everything below a group, with None for a link that is not followed; an object with several names appears once.

    HDF5's own walk would drop an error that we raise in it.
    """
    import h5py

    waiting, seen = [("", group)], {h5py.h5o.get_info(group.id).addr}
    while waiting:
        above, outer = waiting.pop()
        for name in outer:
            if not isinstance(outer.get(name, getlink=True), h5py.HardLink):
                yield above + name, None
                continue
            held = outer[name]
            if (address := h5py.h5o.get_info(held.id).addr) not in seen:
                seen.add(address)
                yield above + name, held
                if isinstance(held, h5py.Group):
                    waiting.append((f"{above}{name}/", held))


def unreadable(path: Path, error: OSError) -> InputError:
    """The error for a file that may be intact but cannot be read at the moment."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return InputError(f"{path}: cannot be read ({reason}); check its permissions and the disk")


def plain(value: Any) -> Any:
    """An attribute as a Python object."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def attributes_of(held: Any) -> dict[str, Any]:
    """The attributes of a file or a group, without the checksum."""
    return {name: plain(value) for name, value in held.attrs.items() if name != SUM}


def require_sum(held: Any, summed: Callable[[Any], str], path: Path, remedy: str, root: Path | None = None) -> None:
    """Raise `InputError` if the stored checksum of a file, or of a group in it, does not fit its content.

    Older versions wrote no checksum; with `root`, it may be missing only if that directory is older than checksums.
    """
    require_seal(held.attrs.get(SUM), lambda: summed(held), path, remedy, root)


def sum_of_content(group: Any) -> str:
    """The checksum of everything in a small group."""
    arrays = {
        name: (held.dtype.str, held.shape, held[()].tobytes().hex())
        for name, held in contents(group)
        if hasattr(held, "dtype")
    }
    return digest([attributes_of(group), arrays])


def sum_of_chunks(datasets: dict[str, Any], read: Callable[[int, int], bytes]) -> str:
    """The checksum of the checksums that HDF5 keeps for the chunks and compares with the data as it reads them.

    HDF5 renews the checksum of a chunk when other numbers are written into it. `read` returns a number of bytes from an
    offset in the file, so the data themselves need not be read.
    """
    found = {}
    for name, dataset in datasets.items():
        chunks: list[tuple[Any, ...]] = []
        if dataset.chunks is not None:
            dataset.id.chunk_iter(chunks.append)
        summed = hashlib.sha256()
        for offset, mask, place, size in sorted(chunks):
            summed.update(f"{tuple(offset)} {mask} {size} ".encode() + read(place + size - _FLETCHER, _FLETCHER))
        found[name] = summed.hexdigest()
    return digest(found)
