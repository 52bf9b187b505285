"""JSON files with a checksum of their content, so that altered numbers are not read.

The key `sha256` stands last in every object that is written. It is the hash of the rest in canonical form, keys sorted:
other formatting of the file does no harm. A file without it is read where the run is of a version that wrote none.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trivmap.errors import InputError
from trivmap.store.plain import is_file, read_bytes
from trivmap.trust import is_trusting

SCHEMA = 1
"""The schema of all files that are written today."""
Shape = Mapping[str, type | tuple[type, ...]]
"""Keys that an object must have, or may have if a question mark follows, and the types their values may have."""


def require_unaltered(unaltered: bool, path: Path, remedy: str) -> None:
    """Raise `InputError` for a file that is not as it was written, unless such files are trusted."""
    if not (unaltered or is_trusting()):
        raise InputError(f"{path}: was altered, its checksum does not fit; {remedy}, or trust it as it is with --trust")


def require_seal(written: Any, expected: Callable[[], str], path: Path, remedy: str, root: Path | None) -> None:
    """Raise `InputError` where a file carries another checksum than `expected`, or none where `root` has them.

    `environment.json` is the first file of a run: with a checksum in it, all others that have one today have had it.
    """
    require_unaltered(written == expected() if written is not None else not _has_seals(root), path, remedy)


def _has_seals(root: Path | None) -> bool:
    if root is None:
        return False
    try:
        path = root / "environment.json"
        content = json.loads(read_bytes(path)) if is_file(path) else {}
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "sha256" in content


def digest(content: Any) -> str:
    """SHA-256 of data as JSON in canonical form."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def seal(text: str) -> str:
    """The text of a JSON object, with the checksum of its content as its last key."""
    content = json.loads(text)
    body = text.rstrip().removesuffix("}").rstrip()
    return f'{body}{"," if content else ""}\n  "sha256": "{digest(content)}"\n}}\n'


def read_json(path: Path, remedy: str, *, shape: Shape | None = None, root: Path | None = None) -> Any:
    """The JSON object in `path` without its checksum; `shape` names what must be in it, `{}` for nothing special.

    `root` is the directory of the run where that is not the folder of the file. Raises `InputError`, ending in
    `remedy`, where the file is missing, damaged, altered or of another shape.
    """
    return _read(path, remedy, shape or {}, root or path.parent)[1]


def read_sealed_text(path: Path, remedy: str, *, shape: Shape | None = None) -> str:
    """The text of a JSON object, checked in the same way."""
    return _read(path, remedy, shape or {}, path.parent)[0]


def read_list(path: Path, remedy: str) -> list[Any]:
    """A JSON array, which has no checksum."""
    _, content = _parsed(path, remedy)
    if not isinstance(content, list):
        raise InputError(f"{path}: is damaged; {remedy}")
    return content


def _read(path: Path, remedy: str, shape: Shape, root: Path) -> tuple[str, dict[str, Any]]:
    text, content = _parsed(path, remedy)
    if not isinstance(content, dict):
        raise InputError(f"{path}: is damaged; {remedy}")
    schema = content.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise InputError(f"{path}: schema {schema} is newer than this trivmap, which reads {SCHEMA}: upgrade trivmap")
    written = content.pop("sha256", None)
    require_seal(written, lambda: digest(content), path, remedy, root)
    if not all(_fits(content, key, kind) for key, kind in shape.items()):
        raise InputError(f"{path}: is damaged; {remedy}")
    return text, content


def _parsed(path: Path, remedy: str) -> tuple[str, Any]:
    try:
        text = read_bytes(path).decode()
        return text, json.loads(text)
    except FileNotFoundError as error:
        raise InputError(f"{path}: is missing; {remedy}") from error
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is damaged; {remedy}") from error


def _fits(content: dict[str, Any], key: str, kind: type | tuple[type, ...]) -> bool:
    name = key.removesuffix("?")
    if name not in content:
        return name != key
    # To Python a flag is a number.
    value, kinds = content[name], kind if isinstance(kind, tuple) else (kind,)
    return isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
