"""The log of a training, `metrics.jsonl`: one JSON object per line. The summary stores its length and its hash."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from trivmap.store.files import write_bytes
from trivmap.store.plain import is_file, open_plain, read_bytes, sha256, size
from trivmap.store.sealed import MAYBE, Shape, fits

_TAIL = 1 << 14
_QUALITY = ({"value?": MAYBE, "error?": MAYBE}, NoneType)
_RECORD: Shape = {
    "step?": int,
    "rung?": int,
    "evaluation?": ({"acceptance?": _QUALITY, "ess?": _QUALITY}, NoneType),
    **dict.fromkeys(("loss?", "loss_error?", "ess?", "acceptance?", "learning_rate?", "temperature?"), MAYBE),
    **dict.fromkeys(("gradient_norm?", "damping?", "batch?"), MAYBE),
}


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The records; a line torn by a kill, or any other line that is not a record, is left out."""
    for _, record in _parsed(read_bytes(path) if is_file(path) else b""):
        yield record


def last_record(path: Path) -> dict[str, Any] | None:
    """The last record, read from the end of the file alone."""
    if not is_file(path):
        return None
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        end = length = file.seek(0, os.SEEK_END)
        length = min(length, _TAIL)
        while True:
            file.seek(end - length)
            found = [record for _, record in _parsed(file.read(length))]
            if found or length == end:
                return found[-1] if found else None
            length = min(end, 4 * length)


def truncate(path: Path, step: int) -> None:
    """Drop the records after a step, and a line torn by a kill."""
    if is_file(path):
        kept = [line + b"\n" for line, record in _parsed(read_bytes(path)) if record.get("step", 0) <= step]
        write_bytes(path, b"".join(kept))


def mark(path: Path) -> dict[str, Any]:
    """Length and hash of the file, and the step of its last record."""
    length, last = size(path), last_record(path)
    return {"bytes": length, "sha256": sha256(path, length) if length else None, "step": (last or {}).get("step")}


def damage(path: Path, noted: Mapping[str, Any] | None) -> str | None:
    """The damage to a file since `mark` recorded it, or None. If no step is recorded, a training is adding lines."""
    if not noted or not noted["bytes"]:
        return None
    length = noted["bytes"]
    if size(path) < length:
        return "has lost lines" if is_file(path) else "is missing"
    if sha256(path, length) != noted["sha256"]:
        return "was altered"
    if noted.get("step") is not None and size(path) > length and any(_parsed(read_bytes(path)[length:])):
        return "has gained lines that its training did not write"
    return None


def _parsed(text: bytes) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for line in text.split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(line)
            if fits(record, _RECORD):
                yield line, record
