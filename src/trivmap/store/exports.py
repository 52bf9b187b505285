"""Files of configurations for other programs, in HDF5 or in NumPy's formats, written piece by piece.

They hold `fields` and `log_weight` with the facts about them. NumPy's .npy has no room for weights, without which the
fields would be taken for those of exp(-S)/Z.
"""

import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from trivmap.errors import InputError
from trivmap.store.files import new_large_file, require_absent

PROPOSALS = "independent proposals"
"""The fact `ensemble` of configurations that need their weights."""
SUFFIXES = (".h5", ".hdf5", ".npz")
_FIELDS, _WEIGHTS = "fields", "log_weight"


class Form(NamedTuple):
    """Shape and dtype of an array that is written piece by piece, in the order of its numbers, and its definition."""

    shape: tuple[int, ...]
    dtype: np.dtype
    definition: str
    dimensions: list[str]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


class Put(Protocol):
    """Takes the next configurations, shape (n, ...), and their log-weights."""

    def __call__(self, fields: np.ndarray, log_weight: np.ndarray) -> None: ...


def require_exportable(path: Path, suffixes: Sequence[str] = SUFFIXES) -> None:
    """Raise `InputError` for a name that stands for none of the formats, and where no new file can be made."""
    if path.suffix not in suffixes:
        raise InputError(f"{path}: has no known format; let the name of the file end in {', '.join(suffixes)}")
    require_absent(path)


@contextmanager
def exporting(path: Path, fields: Form, log_weight: Form, facts: Mapping[str, Any]) -> Iterator[Put]:
    """Make a new file of configurations, all or nothing; the block puts them, in order.

    Args:
        path: the file, which must not exist; its suffix names the format.
        fields: the form of the configurations.
        log_weight: the form of their log-weights.
        facts: what is to be known about them, as JSON takes it.

    Raises:
        InputError: for another suffix, a file that exists, and a disk that is full.
    """
    require_exportable(path)
    forms = {_FIELDS: fields, _WEIGHTS: log_weight}
    make = _npz if path.suffix == ".npz" else _hdf5
    with new_large_file(path) as partial, make(partial, forms, facts) as put:
        yield put


@contextmanager
def _hdf5(path: Path, forms: Mapping[str, Form], facts: Mapping[str, Any]) -> Iterator[Put]:
    import h5py

    with h5py.File(path, "w", locking=False) as file:
        for name, value in facts.items():
            file.attrs[name] = json.dumps(value) if isinstance(value, Mapping | None) else value
        for name, form in forms.items():
            layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            dataset = file.create_dataset(name, form.shape, form.dtype, dcpl=layout)
            dataset.attrs["definition"], dataset.attrs["dimensions"] = form.definition, form.dimensions
            for axis, label in enumerate(form.dimensions):
                dataset.dims[axis].label = label
    _reserve(path)
    # The places of the data are taken, so that HDF5, which does not survive a full disk, meets none.
    with h5py.File(path, "r+", locking=False) as file:
        chains, count = forms[_WEIGHTS].shape
        done = 0

        def put(fields: np.ndarray, log_weight: np.ndarray) -> None:
            nonlocal done
            chain, start = divmod(done, count)
            file[_FIELDS][chain, start : start + len(fields)] = fields
            file[_WEIGHTS][chain, start : start + len(fields)] = log_weight
            done += len(fields)

        yield put
        assert done == chains * count


def _reserve(path: Path) -> None:
    """Take the whole of a file from the disk that so far is only declared; raises the system's error."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


@contextmanager
def _npz(path: Path, forms: Mapping[str, Form], facts: Mapping[str, Any]) -> Iterator[Put]:
    text = json.dumps({**facts, **{name: _described(form) for name, form in forms.items()}}, indent=2)
    weights: list[bytes] = []
    with path.open("r+b") as file, zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        with archive.open("fields.npy", "w", force_zip64=True) as entry:
            _write_head(entry, forms[_FIELDS])

            def put(fields: np.ndarray, log_weight: np.ndarray) -> None:
                entry.write(_content(fields, forms[_FIELDS]))
                weights.append(_content(log_weight, forms[_WEIGHTS]))

            yield put
        with archive.open("log_weight.npy", "w", force_zip64=True) as entry:
            _write_head(entry, forms[_WEIGHTS])
            for each in weights:
                entry.write(each)
        with archive.open("metadata.npy", "w") as entry:
            np.lib.format.write_array(entry, np.asarray(text), allow_pickle=False)


def _write_head(file: Any, form: Form) -> None:
    descr = np.lib.format.dtype_to_descr(form.dtype)
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": form.shape})


def _content(values: np.ndarray, form: Form) -> bytes:
    return np.ascontiguousarray(values, form.dtype).tobytes()


def _described(form: Form) -> dict[str, Any]:
    return {"definition": form.definition, "dimensions": form.dimensions}
