"""The samples of a run: written in parts that a kill cannot spoil, read piece by piece.

`samples.h5` holds virtual datasets over `samples/part-00000.h5` and so on: `log_weight` (float64), `accepted` (bool),
`observables/NAME` and, if asked for, `fields`, each with leading axes (chains, steps): one file for every HDF5 tool.
"""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trivmap.errors import InputError
from trivmap.notebook import table
from trivmap.store.definitions import definitions
from trivmap.store.files import write_bytes
from trivmap.store.folders import inside, is_folder
from trivmap.store.hdf5 import SUM, UNREADABLE, attributes_of, plain, read_attributes
from trivmap.store.plain import is_file
from trivmap.store.sample_parts import Part, damaged, find_parts, open_part, part_path, read_state, write_part
from trivmap.store.sealed import SCHEMA, digest

_MAY_CHANGE = ("proposals", "warmup")
"""Attributes that a resumed run may give another value: more proposals, another cut at the start of the analysis."""
_OF_THE_INDEX = ("parts", "schema", "steps")
"""Attributes that only the index has; "steps" of annealing where an older version wrote it."""
_BEFORE = {"generator": "threefry2x32", "common_noise": True}
"""Attributes that older versions did not write, and what they did."""


class SampleWriter:
    """Appends parts to the samples of the run in `root`, after the parts that are there.

    `attributes` describe the samples: kind, history, chains, proposals, warmup, thin, lattice, seed, and whatever else
    identifies them, such as the digest of the model. Raises `InputError` if parts are damaged or are of other samples,
    and with `no_fewer` if more proposals are stored than `attributes` say.
    """

    def __init__(self, root: Path, attributes: Mapping[str, Any], *, no_fewer: bool = False):
        self.root, self.folder, self.index = root, root / "samples", root / "samples.h5"
        self.attributes = {name: plain(np.asarray(value)) for name, value in attributes.items() if value is not None}
        self._parts = find_parts(self.folder)
        if self._parts:
            self._require_same(self._parts[0])
            if no_fewer:
                self._require_room()
            self._write_index()

    @property
    def completed(self) -> int:
        """Steps of each chain that are safely stored."""
        return self._parts[-1].start + self._parts[-1].steps if self._parts else 0

    @property
    def state(self) -> dict[str, Any]:
        """The resumption state given with the last part, empty before the first."""
        return read_state(self._parts[-1].path) if self._parts else {}

    def append(
        self,
        *,
        accepted: np.ndarray,
        observables: Mapping[str, np.ndarray],
        log_weight: np.ndarray | None = None,
        fields: np.ndarray | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> Path:
        """Store the next steps of every chain: arrays of shape (chains, count, ...), each dtype kept.

        `fields` may hold fewer steps than the rest (thinning); `state` is what the sampler needs to continue, arrays or
        JSON. Nothing is kept in memory. Raises `InputError` when the disk is full; the parts written stay.
        """
        datasets = {"accepted": np.asarray(accepted, bool)}
        if log_weight is not None:
            datasets["log_weight"] = np.asarray(log_weight, np.float64)
        datasets |= {f"observables/{name}": np.asarray(values) for name, values in observables.items()}
        expected = (self.attributes["chains"], datasets["accepted"].shape[1])
        for name, values in datasets.items():
            if values.shape[:2] != expected:
                raise ValueError(f"{name} has leading axes {values.shape[:2]}, expected (chains, count) = {expected}")
        if fields is not None:
            datasets["fields"] = np.asarray(fields)
        path = part_path(self.folder, len(self._parts))
        fixed = {name: value for name, value in self.attributes.items() if name not in _MAY_CHANGE}
        start = self.completed
        write_part(path, start, fixed, datasets, state or {})
        shapes = {name: (values.shape, values.dtype) for name, values in datasets.items()}
        self._parts.append(Part(path, len(self._parts), start, expected[1], fixed, shapes))
        self._write_index()
        return path

    def _write_index(self) -> None:
        with inside(self.root):
            write_index(self.index, self._parts, self.attributes)

    def _require_room(self) -> None:
        """Refuse a card that asks for fewer proposals than are stored: it would not describe them."""
        chains, asked = self.attributes["chains"], self.attributes.get("proposals")
        if asked is not None and self.completed > asked // chains:
            raise InputError(
                f"sampling.proposals: is {asked}, but {self.completed * chains} are stored in {self.folder}; give at "
                "least as many, or move the samples away"
            )

    def _require_same(self, part: Part) -> None:
        for name, stored, asked in _differences(part.attributes, self.attributes):
            raise InputError(
                f"{self.folder}: was drawn with {name} = {stored}, the run now has {asked}; move {self.folder} and "
                f"{self.index} away to draw new samples, or go back to {stored}"
            )


class SampleReader:
    """Reads the samples of the run in `root` piece by piece, whatever their size; a context manager.

    Every part is checked to be whole before anything is read, because HDF5 itself would fill what is missing with
    zeros. Raises `InputError` where there are no samples, or a file is missing or damaged.
    """

    def __init__(self, root: Path):
        self.root, self.index = root, root / "samples.h5"
        self.attrs = self._index_attributes()
        self.parts = find_parts(root / "samples")
        if len(self.parts) < self.attrs["parts"]:
            missing = part_path(root / "samples", len(self.parts))
            raise InputError(
                f"{missing}: is missing; put it back, or run trivmap sample {root}, which draws the same ones again"
            )
        for first in self.parts[:1]:  # The others have been compared with it.
            own = {name: value for name, value in self.attrs.items() if name not in _OF_THE_INDEX}
            self._require_none(_differences(first.attributes, own), first.path)
        self._open: tuple[Path, Any] | None = None

    def require(self, facts: Mapping[str, Any]) -> None:
        """Raise `InputError` unless the samples were drawn with these facts, as far as they carry them."""
        stored = {name: self.attrs.get(name, _BEFORE.get(name, asked)) for name, asked in facts.items()}
        self._require_none(_differences(stored, facts), self.index)

    def _require_none(self, differences: Iterator[tuple[str, Any, Any]], path: Path) -> None:
        for name, stored, asked in differences:
            raise InputError(
                f"{path}: was drawn with {name} = {stored}, not with {asked}; put back the samples or the card of this "
                f"run, or move {self.index} and {self.root / 'samples'} away and run trivmap sample {self.root}"
            )

    def __repr__(self) -> str:
        """The file, the number of chains and of steps, and the measurements."""
        return f"{self._head}: {', '.join(self.names)})"

    def _repr_html_(self) -> str:
        """The datasets with their shapes, for notebooks."""
        return table(f"{self._head})", ("dataset", "shape", "dtype"), self._datasets())

    @property
    def _head(self) -> str:
        size = f"{self.chains} chains of {self.n} steps, the first {self.warmup} for warm-up"
        return f"SampleReader({str(self.index)!r}, {size}"

    def _datasets(self) -> Iterator[tuple[str, list[int], str]]:
        for name, (shape, dtype) in (self.parts[0].datasets if self.parts else {}).items():
            short = name.removeprefix("observables/")
            yield short, [self.chains, self.length(short), *shape[2:]], str(dtype)

    @property
    def chains(self) -> int:
        return self.attrs["chains"]

    @property
    def n(self) -> int:
        """Steps per chain, warm-up included."""
        return sum(part.steps for part in self.parts)

    @property
    def warmup(self) -> int:
        return self.attrs["warmup"]

    @property
    def names(self) -> list[str]:
        """The measurements; `read` knows `log_weight`, `accepted` and `fields` besides, where they are stored."""
        names = self.parts[0].datasets if self.parts else ()
        return [name.removeprefix("observables/") for name in names if name.startswith("observables/")]

    def __contains__(self, name: str) -> bool:
        return bool(self.parts) and self._dataset(name) in self.parts[0].datasets

    def length(self, name: str) -> int:
        """Entries per chain: `n`, of `fields` the number kept."""
        return sum(part.datasets[self._dataset(name)][0][1] for part in self.parts)

    def read(self, name: str, chain: int, start: int, stop: int) -> np.ndarray:
        """Entries start ... stop - 1 of one chain, shape (stop - start, ...), cut off at the end."""
        dataset, pieces, offset = self._dataset(name), [], 0
        for part in self.parts:
            count = part.datasets[dataset][0][1]
            low, high = max(0, start - offset), min(count, stop - offset)
            if low < high:
                pieces.append(self._read(part.path, dataset, chain, low, high))
            offset += count
        if len(pieces) == 1:
            return pieces[0]
        shape, dtype = self.parts[0].datasets[dataset]
        return np.concatenate([np.zeros((0, *shape[2:]), dtype), *pieces])

    def __getitem__(self, name: str) -> np.ndarray:
        """Everything stored under a name, shape (chains, entries, ...)."""
        return np.stack([self.read(name, chain, 0, self.length(name)) for chain in range(self.chains)])

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def __enter__(self) -> "SampleReader":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _dataset(self, name: str) -> str:
        return name if name in ("log_weight", "accepted", "fields") else f"observables/{name}"

    def _read(self, path: Path, dataset: str, chain: int, low: int, high: int) -> np.ndarray:
        if self._open is None or self._open[0] != path:
            self.close()
            self._open = (path, open_part(path, again=True))
        try:
            return self._open[1][dataset][chain, low:high]
        except OSError as error:
            raise damaged(path, error) from error

    def _index_attributes(self) -> dict[str, Any]:
        again = f"run trivmap sample {self.root}"
        there = is_folder(self.root / "samples")
        if not is_file(self.index):
            if not there:
                raise InputError(f"{self.root}: has no samples yet; {again}")
            raise InputError(f"{self.index}: is missing; {again}, which makes it again from the parts in samples/")
        again = f"{again}, which makes it again from the parts in samples/"
        try:
            attributes = read_attributes(self.index, again, self.root)
        except UNREADABLE as error:
            raise InputError(f"{self.index}: is truncated or damaged; {again}") from error
        if not all(type(attributes.get(name)) is int for name in ("parts", "chains", "warmup")):
            raise InputError(f"{self.index}: is truncated or damaged; {again}")
        return attributes


def _differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Name and both values of the attributes in which samples are not as asked for."""
    for name in sorted((stored.keys() | asked.keys()) - set(_MAY_CHANGE)):
        before, now = stored.get(name, _BEFORE.get(name)), asked.get(name)
        if before != now:
            yield name, before, now


def write_index(path: Path, parts: list[Part], attributes: Mapping[str, Any]) -> None:
    """Write `samples.h5`, virtual datasets over the parts by paths relative to it, all or nothing."""
    import h5py

    buffer = io.BytesIO()
    described = definitions({name: len(shape) for name, (shape, _) in parts[0].datasets.items()}, attributes)
    with h5py.File(buffer, "w") as file:
        file.attrs.update(attributes)
        file.attrs.update(schema=SCHEMA, parts=len(parts))
        file.attrs[SUM] = digest(attributes_of(file))
        for name, (shape, dtype) in parts[0].datasets.items():
            lengths = [part.datasets[name][0][1] for part in parts]
            layout = h5py.VirtualLayout((shape[0], sum(lengths), *shape[2:]), dtype)
            offset = 0
            for part, length in zip(parts, lengths, strict=True):
                if length:
                    source = f"{part.path.parent.name}/{part.path.name}"
                    layout[:, offset : offset + length] = h5py.VirtualSource(
                        source, name, (shape[0], length, *shape[2:]), dtype
                    )
                offset += length
            file.create_virtual_dataset(name, layout).attrs.update(described[name])
    write_bytes(path, buffer)
