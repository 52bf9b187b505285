"""The trained flow on disk: its weights, and a header that rebuilds the flow they belong to."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.store.environment import package_version
from trivmap.store.files import read_json, sha256, storing, write_bytes, write_json

_SECTIONS = ("lattice", "action", "model", "dtype")
_AGAIN = "copy it from a backup, or write it again with trivmap train --resume on the run"


def save_model(folder: Path, flow: Any, card: RunCard) -> Path:
    """Write the flow's weights and `header.json` into `folder`; returns the path of the weights.

    The weights' file is named after their hash and the header is replaced last, so that a kill leaves either the old
    model or the new one. Raises `InputError` when the disk takes no more.
    """
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    eqx.tree_serialise_leaves(buffer, flow)
    digest, size = hashlib.sha256(buffer.getbuffer()).hexdigest(), buffer.tell()
    weights = folder / f"weights-{digest[:12]}.eqx"
    write_bytes(weights, buffer)
    data = card.to_data()
    header = {
        "schema": 1,
        "trivmap": package_version("trivmap"),
        **{key: data[key] for key in _SECTIONS},
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(flow, eqx.is_inexact_array))),
        "weights": {"file": weights.name, "bytes": size, "sha256": digest},
    }
    write_json(folder / "header.json", header)
    for old in folder.glob("weights-*.eqx"):
        if old != weights:
            old.unlink(missing_ok=True)
    return weights


def model_digest(folder: Path) -> str:
    """SHA-256 of the weights the header names: what samples were drawn with."""
    return _header(folder)["weights"]["sha256"]


def load_model(folder: Path, build: Callable[[RunCard], Any]) -> tuple[Any, RunCard]:
    """The flow, and a run card of its lattice, action, model and dtype; `build(card)` makes the flow's skeleton.

    Raises `InputError` where files are missing, truncated or altered, or where this process cannot hold float64.
    """
    header = _header(folder)
    path, expected = folder / header["weights"]["file"], header["weights"]
    if not path.is_file():
        raise InputError(f"{path}: is missing; {_AGAIN}")
    if path.stat().st_size != expected["bytes"]:
        raise InputError(f"{path}: is truncated, {path.stat().st_size} bytes instead of {expected['bytes']}; {_AGAIN}")
    if sha256(path) != expected["sha256"]:
        raise InputError(f"{path}: was altered; {_AGAIN}")
    card = RunCard.from_data({key: header[key] for key in _SECTIONS}, str(folder / "header.json"))
    if card.dtype == "float64" and jnp.result_type(float) != jnp.float64:
        raise InputError(f"{folder}: the model is float64; call jax.config.update('jax_enable_x64', True) first")
    try:
        return eqx.tree_deserialise_leaves(path, build(card)), card
    except InputError:
        raise
    except (RuntimeError, ValueError, EOFError) as error:
        raise InputError(
            f"{path}: does not fit the model its header describes; it was written by trivmap {header['trivmap']}, "
            "load it with that version"
        ) from error


def _header(folder: Path) -> dict[str, Any]:
    path = folder / "header.json"
    header = read_json(path, _AGAIN)
    if not isinstance(header, dict) or not {"schema", "trivmap", "weights", *_SECTIONS} <= header.keys():
        raise InputError(f"{path}: is damaged; {_AGAIN}")
    if header["schema"] != 1:
        raise InputError(
            f"{path}: schema {header['schema']} is newer than this trivmap, which reads 1: upgrade trivmap"
        )
    return header
