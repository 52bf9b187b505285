"""JSON files with a checksum of their content, so that altered numbers are not read.

The key `sha256` is the last key of every object that is written. It is the hash of the rest in canonical form, with
sorted keys, so the formatting of the file does not matter. A file without it is read if the run is from a version that
wrote no checksums.

The key before it is `origin`: the identity of the run, which is `run` in its `environment.json`, and the place of the
file in the run. A file from another run, or from another place in this run, is not read either.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from trivmap.errors import InputError
from trivmap.store.plain import is_file, read_bytes
from trivmap.trust import is_trusting

SCHEMA = 1
"""The schema of all files that this version writes."""
Shape = Mapping[str, Any]
"""Keys that an object must have, or may have if a question mark follows; `*` is any other key.

A value is the allowed type, a tuple of alternatives, a list with the shape of each entry, or the shape of an object.
"""
NUMBER = (int, float)
MAYBE = (int, float, NoneType)
ESTIMATE: Shape = {"value": MAYBE, "error": MAYBE}
ENVIRONMENT = "environment.json"
"""The first file of a run, a study or a comparison."""
_DEEPEST = 50
"""Largest nesting depth of an object: deeper ones might exceed the recursion limit of functions that walk them."""


def require_unaltered(unaltered: bool, path: Path, remedy: str) -> None:
    """Raise `InputError` for a file that was altered, unless such files are trusted."""
    if not (unaltered or is_trusting()):
        raise InputError(f"{path}: was altered, its checksum does not fit; {remedy}, or trust it as it is with --trust")


def require_seal(written: Any, expected: Callable[[], str], path: Path, remedy: str, root: Path | None) -> None:
    """Raise `InputError` if a file's checksum is not `expected`, or is missing although files in `root` have checksums.

    `environment.json` is the first file of a run: if it has a checksum, all other files were written with one too.
    """
    require_unaltered(written == expected() if written is not None else not _has_seals(root), path, remedy)


def _has_seals(root: Path | None) -> bool:
    return root is not None and "sha256" in _environment(root)


def _environment(root: Path) -> dict[str, Any]:
    try:
        path = root / ENVIRONMENT
        content = json.loads(read_bytes(path)) if is_file(path) else {}
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def new_identity() -> str:
    """A random number, the `run` of a new `environment.json`."""
    return uuid.uuid4().hex


def origin(path: Path, root: Path | None = None) -> str | None:
    """The identity of the run and the place of the file in it; None if `environment.json` has no identity.

    `root` is the directory of the run if that is not the folder of the file. `environment.json` itself has no origin.
    """
    root = root or path.parent
    identity = None if path.name == ENVIRONMENT else _environment(root).get("run")
    return f"{identity}/{path.relative_to(root).as_posix()}" if isinstance(identity, str) else None


def digest(content: Any) -> str:
    """SHA-256 of data as JSON in canonical form."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def seal(text: str, origin: str | None = None) -> str:
    """The text of a JSON object, with its origin and the checksum of its content as its last keys."""
    content = json.loads(text)
    last = {} if origin is None else {"origin": origin}
    last["sha256"] = digest(content | last)
    body = text.rstrip().removesuffix("}").rstrip()
    return body + ("," if content else "") + "".join(f'\n  "{key}": "{last[key]}",' for key in last)[:-1] + "\n}\n"


def read_json(
    path: Path, remedy: str, *, shape: Shape | None = None, root: Path | None = None, portable: bool = False
) -> Any:
    """The JSON object in `path` without origin and checksum; `shape` is the required content, `{}` requires nothing.

    `root` is the directory of the run if that is not the folder of the file. A `portable` file may be copied from run
    to run. Raises `InputError`, ending in `remedy`, if the file is missing, damaged or altered, comes from another run,
    or has another shape.
    """
    return _read(path, remedy, shape or {}, root or path.parent, portable)[1]


def read_sealed_text(path: Path, remedy: str, *, shape: Shape | None = None) -> str:
    """The text of a JSON object, checked in the same way."""
    return _read(path, remedy, shape or {}, path.parent, False)[0]


def read_list(path: Path, remedy: str) -> list[Any]:
    """A JSON array, which has no checksum."""
    _, content = _parsed(path, remedy)
    if not isinstance(content, list):
        raise InputError(f"{path}: is damaged; {remedy}")
    return content


def _read(path: Path, remedy: str, shape: Shape, root: Path, portable: bool) -> tuple[str, dict[str, Any]]:
    text, content = _parsed(path, remedy)
    if not isinstance(content, dict):
        raise InputError(f"{path}: is damaged; {remedy}")
    schema = content.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise InputError(f"{path}: schema {schema} is newer than this trivmap, which reads {SCHEMA}: upgrade trivmap")
    written = content.pop("sha256", None)
    require_seal(written, lambda: digest(content), path, remedy, root)
    found, own = content.pop("origin", None), None if portable else origin(path, root)
    if own not in (None, found) and not is_trusting():
        raise InputError(
            f"{path}: belongs to another run than {root / ENVIRONMENT}, or to another place in it; restore the one "
            f"that was copied here, or {remedy}, or trust it with --trust"
        )
    if not fits(content, shape):
        raise InputError(f"{path}: is damaged; {remedy}")
    return text, content


def _parsed(path: Path, remedy: str) -> tuple[str, Any]:
    try:
        text = read_bytes(path).decode()
        content = json.loads(text)
        _require_printable(content)
        return text, content
    except FileNotFoundError as error:
        raise InputError(f"{path}: is missing; {remedy}") from error
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is damaged; {remedy}") from error


def _require_printable(content: Any) -> None:
    """Raise a `ValueError` for text that JSON can hold but no terminal or page can show."""
    json.dumps(content, ensure_ascii=False).encode()
    level = [content] if isinstance(content, (dict, list)) else []
    for _ in range(_DEEPEST):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [value for values in inner for value in values if isinstance(value, (dict, list))]
        if not level:
            return
    raise ValueError("nested too deeply")


def fits(value: Any, kind: Any) -> bool:
    """True if a JSON value has the shape, see `Shape`."""
    if isinstance(kind, tuple):
        return any(fits(value, each) for each in kind)
    if isinstance(kind, list):
        return isinstance(value, list) and all(fits(each, kind[0]) for each in value)
    if isinstance(kind, type):
        # In Python a bool is an int.
        return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not isinstance(value, dict):
        return False
    named = {key.removesuffix("?"): key for key in kind if key != "*"}
    known = (fits(value[name], kind[key]) if name in value else name != key for name, key in named.items())
    return all(known) and ("*" not in kind or all(fits(value[name], kind["*"]) for name in value.keys() - named.keys()))
