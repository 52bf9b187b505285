"""Configurations of a user's own, read piece by piece from an HDF5 file or one of NumPy's."""

import math
import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from trivmap.errors import InputError, suggestion
from trivmap.store.exports import PROPOSALS
from trivmap.store.hdf5 import UNREADABLE, contents

_USUAL = "fields"
"""The array that is taken where none is named."""
_OF_A_RUN = {"history", "kind", "chains", "generator"}
"""Attributes that only files of samples have together."""


class Given:
    """An array in a file: its shape and dtype, and slices of it, which are read when they are asked for.

    Args:
        name: how the user named it.
        array: what has the numbers.
    """

    def __init__(self, name: str, array: Any):
        self.name, self._array = name, array
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)

    def __getitem__(self, where: Any) -> np.ndarray:
        try:
            return np.asarray(self._array[where])
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read ({error}); copy the file again") from error


@contextmanager
def opened(text: str) -> Iterator[Given]:
    """The array that `FILE` or `FILE:/DATASET` names.

    A file of HDF5 or an .npz may hold several arrays: `fields` is taken unless one is named, or the only one.

    Raises:
        InputError: where there is no such file or array, or it lies in another file, is damaged, or holds no plain
            numbers, for proposals, which are distributed as exp(-S)/Z only with their weights, and for files of a run,
            whose chains begin with a warm-up.
    """
    path, wanted = _split(text)
    kind = _kind(path)
    if kind == "npy" and wanted is not None:
        raise InputError(f"{path}: holds one array without a name; leave out :{wanted}")
    try:
        if kind == "npy":
            yield Given(text, np.load(path, mmap_mode="r", allow_pickle=False))
            return
        reading = _hdf5 if kind == "hdf5" else _npz
        with reading(path, wanted) as array:
            yield Given(text, array)
    except InputError:
        raise
    except (ValueError, EOFError, zipfile.BadZipFile, *UNREADABLE) as error:
        raise InputError(f"{path}: is truncated, damaged, or holds no plain numbers ({error})") from error


def _split(text: str) -> tuple[Path, str | None]:
    """The file, and the name of the array if one is given."""
    if os.path.lexists(text):
        return Path(text), None
    name, colon, array = text.rpartition(":")
    return (Path(name), array.strip("/")) if colon and name else (Path(text), None)


def _kind(path: Path) -> str:
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            what = "a folder and no run" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
            raise InputError(f"{path}: is {what}; give a file of HDF5, .npy or .npz, or the directory of a run")
        with path.open("rb") as file:
            start = file.read(6)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be read ({reason}); give a file of HDF5, .npy or .npz") from error
    if start == b"\x93NUMPY":
        return "npy"
    if start.startswith(b"PK"):
        return "npz"
    import h5py

    if h5py.is_hdf5(path):
        return "hdf5"
    raise InputError(f"{path}: is no file of HDF5, .npy or .npz")


def _chosen(path: Path, names: list[str], wanted: str | None) -> str:
    """The name of the array to take."""
    if wanted is None:
        wanted = names[0] if len(names) == 1 else _USUAL
    if wanted not in names:
        raise InputError(f"{path}: has no array {wanted}; {suggestion(wanted, names)}")
    return wanted


@contextmanager
def _npz(path: Path, wanted: str | None) -> Iterator[Any]:
    import json

    # NumPy leaves a file open that is no archive.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        names = [name for name in archive.files if name not in ("metadata", "log_weight")]
        name = _chosen(path, names, wanted)
        if "metadata" in archive.files:
            facts = json.loads(str(archive["metadata"]))
            _require_target(path, facts.get("ensemble") if isinstance(facts, dict) else None)
        with archive.zip.open(f"{name}.npy") as entry:
            yield _Packed(entry)


class _Packed:
    """An array in a file that can only be read from its beginning to its end: slices in this order are cheap."""

    def __init__(self, file: Any):
        self._file = file
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"version {version} of NumPy's format")
        self.shape, fortran, self.dtype = read(file)
        if fortran and len(self.shape) > 1:
            raise ValueError("the last index is not the fastest; store numpy.ascontiguousarray of the array")
        if self.dtype.hasobject:
            raise ValueError("Python objects instead of numbers")
        self._start = file.tell()

    def __getitem__(self, where: Any) -> np.ndarray:
        """`array[slice]` or `array[index, slice]`."""
        *index, piece = where if isinstance(where, tuple) else (where,)
        first, stop, _ = piece.indices(self.shape[len(index)])
        rest = self.shape[len(index) + 1 :]
        size = math.prod(rest) * self.dtype.itemsize
        before = index[0] * self.shape[1] if index else 0
        self._file.seek(self._start + (before + first) * size)
        content = self._file.read((stop - first) * size)
        if len(content) < (stop - first) * size:
            raise OSError("it ends too early")
        return np.frombuffer(content, self.dtype).reshape(stop - first, *rest)


@contextmanager
def _hdf5(path: Path, wanted: str | None) -> Iterator[Any]:
    import h5py

    with h5py.File(path, "r", locking=False) as file:
        found = dict(contents(file))
        if file.attrs.keys() >= _OF_A_RUN:
            raise InputError(
                f"{path}: belongs to the samples of a run, whose warm-up it may contain; name the directory of the run"
            )
        if wanted in found and found[wanted] is None:
            raise InputError(f"{path}: {wanted!a} is a link, which trivmap does not follow; name the data themselves")
        arrays = {name: held for name, held in found.items() if isinstance(held, h5py.Dataset)}
        dataset = arrays[_chosen(path, [name for name in arrays if name != "log_weight"], wanted)]
        if dataset.external or dataset.is_virtual:
            raise InputError(
                f"{path}: {dataset.name!a} is a view of other files, where HDF5 takes zeros for what is missing; name "
                "the file that holds the data"
            )
        if not _is_whole(dataset):
            raise InputError(f"{path}: {dataset.name!a} is not whole, HDF5 would fill it with zeros; copy it again")
        _require_target(path, file.attrs.get("ensemble"))
        yield dataset


def _is_whole(dataset: Any) -> bool:
    """True if everything that a dataset declares is stored."""
    if dataset.chunks is None:
        return dataset.id.get_storage_size() >= math.prod(dataset.shape) * dataset.dtype.itemsize
    pieces = [-(-length // chunk) for length, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
    return dataset.id.get_num_chunks() == math.prod(pieces)


def _require_target(path: Path, ensemble: Any) -> None:
    if ensemble == PROPOSALS:
        raise InputError(
            f"{path}: holds proposals, as trivmap export writes them, which are distributed as exp(-S)/Z only with "
            "their weights; trivmap measure RUN, without --configurations, measures those of a run with their weights"
        )
