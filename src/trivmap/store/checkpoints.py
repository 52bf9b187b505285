"""Checkpoints of the training state: exact, complete or absent, and verified before use."""

import contextlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trivmap.errors import InputError
from trivmap.store.files import require_room, storing, write_json
from trivmap.store.folders import folder_of, inside, listed, own_folder, sync
from trivmap.store.plain import is_file, open_plain, read_bytes, sha256, size
from trivmap.store.sealed import SCHEMA, digest
from trivmap.store.state_vector import PackedState, pack, unpack

_NAME = re.compile(r"step-(\d+)(?:-(\d+))?")
_DISCARDED = ".partial-"
_OWN_FILES = 1 << 16
"""Approximate bytes of orbax's own files."""


class Checkpoint(NamedTuple):
    """An intact checkpoint: its path, its step, and its metadata."""

    path: Path
    step: int
    metadata: dict[str, Any]


class CheckpointStore:
    """The checkpoints in one folder; `digest` identifies the model they belong to.

    A checkpoint is a folder `step-N` with orbax's arrays and a manifest of every file's size and hash. It is written
    under another name and renamed, the last `keep` are kept, and no work continues after `save` returns: a kill at any
    moment leaves the latest one intact.
    """

    def __init__(self, folder: Path, digest: str, keep: int = 2):
        self.folder, self.digest, self.keep = folder, digest, keep

    def save(self, step: int, state: Any, metadata: Mapping[str, Any]) -> Path:
        """Store a state with JSON `metadata`; in the state, a pytree, only array, key and number leaves may change.

        Raises `InputError` when the disk is full; the older checkpoints stay.
        """
        packed = pack(state)
        path = self.folder / self._free_name(step)
        partial = self.folder / f"{_DISCARDED}{path.name}"
        with storing(path), inside(self.folder.parent):
            own_folder(self.folder)
            self._clear_discarded()
            try:
                own_folder(partial)
                # If orbax meets a full disk, it leaves threads behind that print tracebacks.
                require_room(partial, _OWN_FILES + sum(vector.nbytes for vector in packed.vectors.values()))
                with _orbax() as checkpointer:
                    checkpointer.save(partial.resolve() / "state", packed.vectors)
                content = {
                    "schema": SCHEMA,
                    "step": step,
                    "digest": self.digest,
                    "leaves": packed.leaves,
                    "metadata": dict(metadata),
                    "files": {name: _described(partial / name) for name in _files(partial)},
                }
                write_json(partial / "manifest.json", content)
                self._rename(partial.name, path.name)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            for old in self._names()[: -self.keep]:
                # Renamed first, so that a kill during the deletion leaves no incomplete checkpoint.
                self._rename(old, f"{_DISCARDED}{old}")
                shutil.rmtree(self.folder / f"{_DISCARDED}{old}", ignore_errors=True)
        return path

    def _rename(self, old: str, new: str) -> None:
        with folder_of(self.folder / new) as folder:
            os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)
            sync(folder)

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint, None if there is none.

        Raises `InputError` if it is damaged; the error names the file, and the older intact checkpoint if there is one.
        """
        names = self._names()
        if not names:
            return None
        try:
            return self._verified(self.folder / names[-1])[0]
        except InputError as damage:
            raise InputError(f"{damage}; {self._remedy(names)}") from damage

    def restore(self, template: Any) -> tuple[Any, Checkpoint]:
        """The newest state, bit-identical, in the form of `template`, which gives structure, shapes and dtypes.

        Raises `InputError` if there is none, if it is damaged, or if it belongs to another model.
        """
        latest = self.latest()
        if latest is None:
            raise InputError(f"{self.folder}: there is no checkpoint yet; start the training without --resume")
        checkpoint, manifest = self._verified(latest.path)
        changed = (
            f"{latest.path}: belongs to another model than the run card describes ({{}}); "
            "resume with the lattice, dtype, action and model it was trained with, or start a new run"
        )
        if manifest["digest"] != self.digest:
            raise InputError(changed.format("lattice, dtype, action or model were changed"))
        with _orbax() as checkpointer:
            vectors = checkpointer.restore(latest.path.resolve() / "state")
        try:
            return unpack(PackedState(manifest["leaves"], vectors), template), checkpoint
        except InputError as difference:
            raise InputError(changed.format(difference)) from difference

    def _verified(self, path: Path) -> tuple[Checkpoint, dict[str, Any]]:
        """The checkpoint and its manifest; an `InputError` names a file that has changed since it was written."""
        manifest_path = path / "manifest.json"
        try:
            manifest = json.loads(read_bytes(manifest_path))
            written = manifest.pop("sha256")
        except FileNotFoundError as error:
            raise InputError(f"{manifest_path}: is missing") from error
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{manifest_path}: is truncated or damaged") from error
        if digest(manifest) != written:
            raise InputError(f"{manifest_path}: was altered")
        for name, expected in manifest["files"].items():
            file = path / name
            if not is_file(file):
                raise InputError(f"{file}: is missing")
            if size(file) != expected["bytes"]:
                raise InputError(
                    f"{file}: is truncated or damaged, it has {size(file)} bytes instead of {expected['bytes']}"
                )
            if sha256(file) != expected["sha256"]:
                raise InputError(f"{file}: was altered")
        return Checkpoint(path, manifest["step"], manifest["metadata"]), manifest

    def _remedy(self, names: list[str]) -> str:
        for older in reversed(names[:-1]):
            with contextlib.suppress(InputError):
                self._verified(self.folder / older)
                return f"move {self.folder / names[-1]} away to resume from the intact {older}"
        return "there is no older intact checkpoint, so start a new run"

    def _names(self) -> list[str]:
        """The checkpoints, oldest first."""
        found = filter(_NAME.fullmatch, listed(self.folder))
        return sorted(found, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])

    def _free_name(self, step: int) -> str:
        """`step-N`, followed by a number if that step was stored before."""
        name, again, taken = f"step-{step:08d}", 1, set(listed(self.folder))
        while name in taken:
            again += 1
            name = f"step-{step:08d}-{again}"
        return name

    def _clear_discarded(self) -> None:
        for name in listed(self.folder):
            if name.startswith(_DISCARDED):
                shutil.rmtree(self.folder / name, ignore_errors=True)


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _described(path: Path) -> dict[str, Any]:
    descriptor = open_plain(path, os.O_RDONLY)
    sync(descriptor)
    os.close(descriptor)
    return {"bytes": size(path), "sha256": sha256(path)}


def _drop(record: logging.LogRecord) -> bool:
    return False


@contextlib.contextmanager
def _orbax() -> Iterator[Any]:
    """A checkpointer for dictionaries of NumPy arrays that works in this thread and logs nothing.

    orbax logs a traceback for every error before it raises it; the error is reported once, by the code that catches it.
    """
    import jax
    import orbax.checkpoint as ocp

    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    for logger in loggers:
        logger.addFilter(_drop)
    # Each process works alone: only the first one writes, and no other waits for it.
    alone = ocp.options.MultiprocessingOptions(primary_host=jax.process_index(), active_processes={jax.process_index()})
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    try:
        with ocp.Checkpointer(handler, multiprocessing_options=alone) as checkpointer:
            yield checkpointer
    finally:
        for logger in loggers:
            logger.removeFilter(_drop)
