"""The part files of a run's samples: their content, and how they are written and checked."""

import io
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trivmap.errors import InputError
from trivmap.store.files import storing, write_bytes
from trivmap.store.folders import inside, listed, own_folder
from trivmap.store.hdf5 import (
    SUM,
    UNREADABLE,
    attributes_of,
    open_hdf5,
    require_sum,
    sum_of_chunks,
    sum_of_content,
    unreadable,
)
from trivmap.store.plain import open_plain
from trivmap.store.sealed import SCHEMA, digest, require_unaltered

_NAME = re.compile(r"part-(\d{5,})\.h5")
CHUNK = 1 << 18
"""Approximate bytes of an HDF5 chunk; each has a checksum."""
_CHUNKS = "chunks"
"""The attribute with the checksum of the checksums that HDF5 keeps for the data."""


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
    """The path of a part."""
    return folder / f"part-{number:05d}.h5"


def write_part(
    path: Path,
    start: int,
    attributes: Mapping[str, Any],
    datasets: Mapping[str, np.ndarray],
    state: Mapping[str, Any],
) -> None:
    """Write one part, all or nothing, every dataset with checksums.

    The file is built in memory, since HDF5 itself does not survive a full disk. Raises `InputError` for a full disk.
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
        group.attrs[SUM] = sum_of_content(group)
        file.flush()
        with buffer.getbuffer() as written:
            file.attrs[_CHUNKS] = sum_of_chunks(_data(file), lambda start, count: bytes(written[start : start + count]))
        file.attrs[SUM] = _sum_of_part(file)
    with storing(path), inside(path.parent.parent):
        own_folder(path.parent)
        write_bytes(path, buffer)


def read_state(path: Path) -> dict[str, Any]:
    """The resumption state in a part: arrays as NumPy arrays, everything else as JSON returns it.

    Raises `InputError` if a number in it was altered.
    """
    with open_part(path) as file:
        try:
            group = file["state"]
            require_sum(group, sum_of_content, path, _remedy(path), path.parent.parent)
            return {name: group[name][()] for name in group} | {
                name: json.loads(value) for name, value in group.attrs.items() if name != SUM
            }
        except UNREADABLE as error:
            raise damaged(path) from error


def open_part(path: Path, *, again: bool = False) -> Any:
    """The HDF5 file of a part, open for reading, as `open_hdf5`; an `InputError` if it is truncated or not HDF5."""
    try:
        return open_hdf5(path, again=again)
    except OSError as error:
        raise damaged(path) from error


def damaged(path: Path, error: OSError | None = None) -> InputError:
    """The error for a part that cannot be read: it is damaged, unless the system gave an `error` with a number."""
    if error is not None and error.errno:
        return unreadable(path, error)
    return InputError(f"{path}: is truncated or damaged; {_remedy(path)}")


def _remedy(path: Path) -> str:
    return (
        f"move it and the later parts away and run trivmap sample {path.parent.parent}, which draws the same "
        "proposals again"
    )


def _sum_of_part(file: Any) -> str:
    """The checksum of the content that the checksums of the datasets do not cover: attributes and dataset layout."""
    datasets = {name: (each.dtype.str, each.shape, each.chunks, each.fletcher32) for name, each in _data(file).items()}
    return digest([attributes_of(file), datasets])


def _data(file: Any) -> dict[str, Any]:
    """The datasets of a part."""
    names = [name for name in ("log_weight", "accepted", "fields") if name in file]
    return {name: file[name] for name in [*names, *(f"observables/{name}" for name in file.get("observables", ()))]}


def find_parts(folder: Path) -> list[Part]:
    """All parts in order, each checked to be complete and to continue the one before it.

    Raises an `InputError` that names a part that is missing, truncated, or from other samples than the first.
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
            require_sum(file, _sum_of_part, path, _remedy(path), path.parent.parent)
            chunks, data = attributes.pop(_CHUNKS, None), _data(file)
            # Older versions wrote no checksum.
            require_unaltered(chunks is None or chunks == _sum_of_data(path, data), path, _remedy(path))
            datasets = {name: (each.shape, each.dtype) for name, each in data.items()}
        except UNREADABLE as error:
            raise damaged(path) from error
    part = Part(path, number, start, steps, attributes, datasets)
    if not _fits_together(part):
        raise damaged(path)
    return part


def _sum_of_data(path: Path, data: dict[str, Any]) -> str:
    descriptor = open_plain(path, os.O_RDONLY)
    try:
        return sum_of_chunks(data, lambda start, count: os.pread(descriptor, count, start))
    finally:
        os.close(descriptor)


def _fits_together(part: Part) -> bool:
    """True if all datasets have the number of chains and steps in the attributes."""
    numbers = (part.attributes.get("chains"), part.steps, part.start)
    shapes = {name: shape[: 1 if name == "fields" else 2] for name, (shape, _) in part.datasets.items()}
    return (
        all(type(number) is int and number >= 0 for number in numbers)
        and "accepted" in shapes
        and part.datasets["accepted"][1].kind == "b"
        and all(shape == numbers[: len(shape)] and shape for shape in shapes.values())
    )


def _kinds(part: Part) -> dict[str, Any]:
    return {name: (shape[:1] + shape[2:], dtype) for name, (shape, dtype) in part.datasets.items()}


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("part-"))


def _chunk(values: np.ndarray) -> tuple[int, ...] | None:
    """The shape of a chunk: one chain, and the steps that fill it; None (a contiguous dataset) if there are no data."""
    if not values.size:
        return None
    step = max(1, values[0, 0].nbytes)
    return (1, max(1, min(values.shape[1], CHUNK // step)), *values.shape[2:])
