"""The trained flow on disk: its weights, and a header from which the flow can be rebuilt."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.store.environment import package_version
from trivmap.store.files import storing, write_bytes, write_json
from trivmap.store.folders import inside, is_folder, listed, own_folder
from trivmap.store.plain import is_file, read_bytes, sha256, size
from trivmap.store.sealed import Shape, read_json, require_unaltered

_SECTIONS = ("lattice", "action", "model", "dtype")
_HEADER: Shape = {
    "schema": int,
    "trivmap": (str, NoneType),
    "weights": dict,
    "lattice": list,
    "action": dict,
    "model": dict,
    "dtype": str,
}


def save_model(folder: Path, flow: Any, card: RunCard) -> Path:
    """Write the flow's weights and `header.json` into `folder`; returns the path of the weights.

    The weights' file is named after their hash and the header is replaced last, so that a kill leaves either the old
    model or the new one. Raises `InputError` when the disk is full.
    """
    with inside(folder.parent):
        return _save(folder, flow, card)


def _save(folder: Path, flow: Any, card: RunCard) -> Path:
    with storing(folder):
        own_folder(folder)
    buffer = io.BytesIO()
    eqx.tree_serialise_leaves(buffer, flow)
    digest, length = hashlib.sha256(buffer.getbuffer()).hexdigest(), buffer.tell()
    weights = folder / f"weights-{digest[:12]}.eqx"
    write_bytes(weights, buffer)
    data = card.to_data()
    header = {
        "schema": 1,
        "trivmap": package_version("trivmap"),
        **{key: data[key] for key in _SECTIONS},
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(flow, eqx.is_inexact_array))),
        "weights": {"file": weights.name, "bytes": length, "sha256": digest},
    }
    _finish(folder, weights.name, header)
    return weights


def _finish(folder: Path, weights: str, header: dict[str, Any]) -> None:
    """Write the header of stored weights, and delete weights that it does not name."""
    write_json(folder / "header.json", header)
    for old in listed(folder):
        if old != weights and old.startswith("weights-") and old.endswith(".eqx"):
            (folder / old).unlink(missing_ok=True)


def copy_model(source: Path, folder: Path) -> None:
    """Write the model in `source` into `folder` of another run. Raises `InputError` if it is damaged."""
    header = _header(source)
    path = _require_weights(source, header["weights"])
    with inside(folder.parent):
        with storing(folder):
            own_folder(folder)
        write_bytes(folder / path.name, read_bytes(path))
        _finish(folder, path.name, header)


def model_digest(folder: Path) -> str:
    """SHA-256 of the weights that the header names, with which samples are drawn."""
    return _header(folder)["weights"]["sha256"]


def load_model(folder: Path, build: Callable[[RunCard], Any]) -> tuple[Any, RunCard]:
    """The flow, and a run card of its lattice, action, model and dtype; `build(card)` makes a flow of its structure.

    Raises `InputError` if files are missing, truncated or altered, or if this process cannot represent float64.
    """
    header = _header(folder)
    path = _require_weights(folder, header["weights"])
    card = RunCard.from_data({key: header[key] for key in _SECTIONS}, str(folder / "header.json"))
    require_precision(card, folder)
    try:
        return eqx.tree_deserialise_leaves(path, build(card)), card
    except InputError:
        raise
    except (RuntimeError, ValueError, EOFError) as error:
        raise InputError(
            f"{path}: does not fit the model its header describes; it was written by trivmap {header['trivmap']}, "
            "load it with that version"
        ) from error


def require_precision(card: RunCard, folder: Path) -> None:
    """Raise `InputError` if the model in a folder is float64, which this session would make float32 without a word."""
    if card.dtype == "float64" and jnp.result_type(float) != jnp.float64:
        raise InputError(f"{folder}: the model is float64; call jax.config.update('jax_enable_x64', True) first")


def is_model(folder: Path) -> bool:
    """True if there is a model; a damaged one does not count."""
    try:
        _require_weights(folder, _header(folder)["weights"])
    except InputError:
        return False
    return True


def _require_weights(folder: Path, expected: dict[str, Any]) -> Path:
    """The file of the weights that the header names; raises `InputError` if it was altered."""
    path = folder / str(expected.get("file"))
    if path.parent != folder or not is_file(path):
        raise InputError(f"{path}: is missing; {_again(folder)}")
    if size(path) != expected["bytes"]:
        raise InputError(f"{path}: is truncated, {size(path)} bytes instead of {expected['bytes']}; {_again(folder)}")
    require_unaltered(sha256(path) == expected["sha256"], path, _again(folder))
    return path


def _header(folder: Path) -> dict[str, Any]:
    path = folder / "header.json"
    # Called for its check: a link in the place of the folder is refused.
    is_folder(folder)
    header = read_json(path, _again(folder), shape=_HEADER, root=folder.parent, portable=True)
    if not {"file", "bytes", "sha256"} <= header["weights"].keys():
        raise InputError(f"{path}: is damaged; {_again(folder)}")
    return header


def _again(folder: Path) -> str:
    return f"copy it from a backup, or run trivmap run --resume {folder.parent}, which writes it again"
