"""The part files of a run's samples: what is in one, how it is written and how it is checked."""

import io
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trivmap.errors import InputError
from trivmap.store.files import storing, write_bytes
from trivmap.store.folders import inside, listed, own_folder
from trivmap.store.plain import is_file
from trivmap.store.sealed import SCHEMA, digest, require_unaltered

_NAME = re.compile(r"part-(\d{5,})\.h5")
CHUNK = 1 << 18
"""Bytes of an HDF5 chunk, about; each carries a checksum."""
SUM = "sha256"
"""The attribute that holds the checksum of what HDF5 itself keeps none of."""
UNREADABLE = (OSError, KeyError, RuntimeError, TypeError, AttributeError, UnicodeError, json.JSONDecodeError)
"""Errors of h5py for a damaged file."""


class Part(NamedTuple):
    """An intact part: steps start ... start + steps - 1 of every chain.

    `datasets` gives shape (chains, steps, ...) and dtype of each; `fields` counts its own kept configurations.
    """

    path: Path
    number: int
    start: int
    steps: int
    attributes: dict[str, Any]
    datasets: dict[str, tuple[tuple[int, ...], np.dtype]]


def part_path(folder: Path, number: int) -> Path:
    """Where a part is kept."""
    return folder / f"part-{number:05d}.h5"


def plain(value: Any) -> Any:
    """An attribute as Python has it."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def write_part(
    path: Path,
    start: int,
    attributes: Mapping[str, Any],
    datasets: Mapping[str, np.ndarray],
    state: Mapping[str, Any],
) -> None:
    """Write one part, all or nothing, every dataset with checksums.

    The file is built in memory: HDF5 itself does not survive a full disk. Raises `InputError` for that.
    """
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs.update(attributes)
        file.attrs.update(schema=SCHEMA, start=start, steps=datasets["accepted"].shape[1])
        for name, values in datasets.items():
            file.create_dataset(name, data=values, chunks=_chunk(values), fletcher32=bool(values.size))
        group = file.create_group("state")
        for name, value in state.items():
            if isinstance(value, (np.ndarray, np.generic)):
                group.create_dataset(name, data=value)
            else:
                group.attrs[name] = json.dumps(value)
        group.attrs[SUM] = _sum_of_state(group)
        file.attrs[SUM] = _sum_of_part(file)
    with storing(path), inside(path.parent.parent):
        own_folder(path.parent)
        write_bytes(path, buffer)


def read_state(path: Path) -> dict[str, Any]:
    """The resumption state in a part: arrays as NumPy arrays, everything else as JSON gives it back.

    Raises `InputError` where a number in it is not the one that was written.
    """
    with open_part(path) as file:
        try:
            group = file["state"]
            _require_sum(group, _sum_of_state, path)
            return {name: group[name][()] for name in group} | {
                name: json.loads(value) for name, value in group.attrs.items() if name != SUM
            }
        except UNREADABLE as error:
            raise damaged(path) from error


def open_hdf5(path: Path) -> Any:
    """A plain HDF5 file, to read. Raises `OSError` where it is none, `InputError` where it cannot be read at all.

    HDF5 itself locks nothing: no file of ours is changed once it is there, and some file systems have no locks.
    """
    import h5py

    if not is_file(path):
        raise FileNotFoundError(path)
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if error.errno:
            raise unreadable(path, error) from error
        raise


def open_part(path: Path) -> Any:
    """The HDF5 file of a part, to read; an `InputError` where it is truncated or no HDF5 file."""
    try:
        return open_hdf5(path)
    except OSError as error:
        raise damaged(path) from error


def damaged(path: Path, error: OSError | None = None) -> InputError:
    """What to say of a part that cannot be read: it is to blame, unless the system gave an `error` with a number."""
    if error is not None and error.errno:
        return unreadable(path, error)
    return InputError(f"{path}: is truncated or damaged; {_remedy(path)}")


def unreadable(path: Path, error: OSError) -> InputError:
    """What to say of a file that may be well but cannot be read at this moment."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return InputError(f"{path}: cannot be read ({reason}); see who may read it, and whether the disk is well")


def _remedy(path: Path) -> str:
    return (
        f"move it and the later parts away and run trivmap sample {path.parent.parent}, which draws the same "
        "proposals again"
    )


def _require_sum(held: Any, summed: Callable[[Any], str], path: Path) -> None:
    """Raise `InputError` where a file or a group in it carries another checksum than its content has."""
    written = held.attrs.get(SUM)
    # Older versions wrote none.
    require_unaltered(written is None or written == summed(held), path, _remedy(path))


def attributes_of(held: Any) -> dict[str, Any]:
    """The attributes of a file or a group, without the checksum."""
    return {name: plain(value) for name, value in held.attrs.items() if name != SUM}


def _sum_of_state(group: Any) -> str:
    arrays = {name: (group[name].dtype.str, group[name].shape, group[name][()].tobytes().hex()) for name in group}
    return digest([attributes_of(group), arrays])


def _sum_of_part(file: Any) -> str:
    """The checksum of what those of the datasets do not cover: attributes, and the layout of the datasets."""
    datasets = {
        name: (each.dtype.str, each.shape, each.chunks, each.fletcher32)
        for name in _names(file)
        for each in (file[name],)
    }
    return digest([attributes_of(file), datasets])


def _names(file: Any) -> list[str]:
    """The datasets of a part."""
    names = [name for name in ("log_weight", "accepted", "fields") if name in file]
    return names + [f"observables/{name}" for name in file.get("observables", ())]


def find_parts(folder: Path) -> list[Part]:
    """All parts in order, each checked to be whole and to continue the one before it.

    Raises `InputError` naming a part that is missing, truncated, or of other samples than the first.
    """
    paths = sorted((folder / name for name in listed(folder) if _NAME.fullmatch(name)), key=_number)
    parts: list[Part] = []
    for number, path in enumerate(paths):
        expected = part_path(folder, number)
        if path != expected:
            raise InputError(
                f"{expected}: is missing while later parts are there; move those away and run trivmap sample "
                f"{folder.parent}, which draws the same proposals again"
            )
        part = _described(path, number)
        if parts:
            first, last = parts[0], parts[-1]
            stranger = part.attributes != first.attributes or _kinds(part) != _kinds(first)
            if stranger or part.start != last.start + last.steps:
                raise InputError(
                    f"{path}: does not continue the part before it; move it and the later parts away and run "
                    f"trivmap sample {folder.parent}"
                )
        parts.append(part)
    return parts


def _described(path: Path, number: int) -> Part:
    with open_part(path) as file:
        try:
            attributes = attributes_of(file)
            start, steps, schema = (attributes.pop(name) for name in ("start", "steps", "schema"))
            if schema > SCHEMA:
                raise InputError(
                    f"{path}: schema {schema} is newer than this trivmap, which reads {SCHEMA}: upgrade trivmap"
                )
            datasets = {name: (file[name].shape, file[name].dtype) for name in _names(file)}
            _require_sum(file, _sum_of_part, path)
        except UNREADABLE as error:
            raise damaged(path) from error
    return Part(path, number, start, steps, attributes, datasets)


def _kinds(part: Part) -> dict[str, Any]:
    return {name: (shape[:1] + shape[2:], dtype) for name, (shape, dtype) in part.datasets.items()}


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("part-"))


def _chunk(values: np.ndarray) -> tuple[int, ...] | None:
    """One chain, as many steps as make a chunk; None, for a contiguous dataset, where there is nothing."""
    if not values.size:
        return None
    step = max(1, values[0, 0].nbytes)
    return (1, max(1, min(values.shape[1], CHUNK // step)), *values.shape[2:])
