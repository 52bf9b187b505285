"""The part files of a run's samples: what is in one, how it is written and how it is checked."""

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trivmap.errors import InputError
from trivmap.store.files import storing, write_bytes

SCHEMA = 1
_NAME = re.compile(r"part-(\d{5,})\.h5")
_CHUNK = 1 << 18
"""Bytes of an HDF5 chunk, about; each carries a checksum."""


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
    with storing(path):
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, buffer)


def read_state(path: Path) -> dict[str, Any]:
    """The resumption state in a part: arrays as NumPy arrays, everything else as JSON gives it back."""
    with open_part(path) as file:
        group = file["state"]
        return {name: group[name][()] for name in group} | {
            name: json.loads(value) for name, value in group.attrs.items()
        }


def open_part(path: Path) -> Any:
    """The HDF5 file, to read; an `InputError` where it is truncated or no HDF5 file."""
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise damaged(path) from error


def damaged(path: Path) -> InputError:
    """What to say of a part that cannot be read."""
    run = path.parent.parent
    return InputError(
        f"{path}: is truncated or damaged; move it and the later parts away and run trivmap sample {run}, which draws "
        "the same proposals again"
    )


def find_parts(folder: Path) -> list[Part]:
    """All parts in order, each checked to be whole and to continue the one before it.

    Raises `InputError` naming a part that is missing, truncated, or of other samples than the first.
    """
    paths = sorted((path for path in folder.glob("part-*.h5") if _NAME.fullmatch(path.name)), key=_number)
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
            attributes = {name: plain(value) for name, value in file.attrs.items()}
            start, steps, schema = (attributes.pop(name) for name in ("start", "steps", "schema"))
            names = [name for name in ("log_weight", "accepted", "fields") if name in file]
            names += [f"observables/{name}" for name in file.get("observables", ())]
            datasets = {name: (file[name].shape, file[name].dtype) for name in names}
        except (OSError, KeyError, RuntimeError) as error:
            raise damaged(path) from error
    if schema > SCHEMA:
        raise InputError(f"{path}: schema {schema} is newer than this trivmap, which reads {SCHEMA}: upgrade trivmap")
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
    return (1, max(1, min(values.shape[1], _CHUNK // step)), *values.shape[2:])
