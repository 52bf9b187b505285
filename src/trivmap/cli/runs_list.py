"""The list of runs in a folder, from their files alone: none of their code is run, and JAX is not imported."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any

from trivmap.cards import yaml_text
from trivmap.cli.columns import NONE, action_text, aligned, grouped, lattice_text, method_text
from trivmap.cli.terminal import say
from trivmap.errors import InputError
from trivmap.estimate import parenthesis
from trivmap.store.plain import is_file, open_plain, read_bytes
from trivmap.store.sealed import ESTIMATE, Shape, read_json

_CARD, _SUMMARY, _METRICS = "config.yaml", "summary.json", "metrics.jsonl"
_DEEPEST = 2
_TAIL = 1 << 14
"""Bytes at the end of a training log that are enough to contain its last line."""
_HEADER = ("run", "lattice", "action", "method", "state", "acceptance", "proposals", "susceptibility")
_OF_SAMPLES = {"log_z", "acceptance", "ess", "tau_int", "chains", "sector", "probe"}
"""Keys of `untrusted` that a run has before it is measured: `runs.verdicts.OF_SAMPLES`."""
_SHAPE: Shape = {
    "training?": ({"evaluation?": ({"acceptance?": (ESTIMATE, NoneType)}, NoneType)}, NoneType),
    "sampling?": ({"acceptance?": (ESTIMATE, NoneType), "proposals?": int}, NoneType),
    "observables?": {"*": ESTIMATE},
    "untrusted?": ({"*": str}, NoneType),
}


def list_runs(root: Path, as_json: bool) -> None:
    """The work of `trivmap list`."""
    if not os.path.isdir(root):
        raise InputError(f"{root}: no such folder; give the folder that holds run directories, or make a run there")
    if is_file(root / _CARD):
        raise InputError(f"{root}: is a run itself; see it with trivmap show {root}, or list the folder it is in")
    found = [_described(path) for path in run_folders(root)]
    if as_json:
        say(json.dumps(found, indent=2))
    elif not found:
        say(f"{root}: holds no run directories; trivmap run makes one")
    else:
        for line in aligned(_HEADER, [_cells(each) for each in found], right=("acceptance", "proposals", _HEADER[-1])):
            say(line)
        for each in found:
            if each["problem"]:
                say(f"unreadable: {each['problem']}")


def require_one_run(root: Path) -> None:
    """Refuse a folder that holds runs and is not a run itself."""
    if (
        os.path.isdir(root)
        and not os.path.lexists(root / _CARD)
        and os.access(root, os.R_OK)
        and any(run_folders(root))
    ):
        raise InputError(f"{root}: is a folder of runs; list them with trivmap list {root}, and show one of them")


def run_folders(root: Path, depth: int = _DEEPEST) -> Iterator[Path]:
    """The run directories in a folder and in the folders in it, in the order of their names.

    Args:
        root: the folder.
        depth: the number of levels of folders that are searched.
    """
    try:
        with os.scandir(root) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"{root}: cannot be read ({error.strerror}); check its permissions") from error
    for name in names:
        if os.path.isfile(root / name / _CARD):
            yield root / name
        elif depth > 1:
            with contextlib.suppress(InputError):
                yield from run_folders(root / name, depth - 1)


def _described(root: Path) -> dict[str, Any]:
    """The state and results in the files of a run; `problem` gives the reason if they cannot be read."""
    found: dict[str, Any] = {"run": str(root), "name": None, "lattice": None, "action": None, "method": None}
    found |= {"state": "unreadable", "step": 0, "steps": 0}
    found |= {"acceptance": None, "proposals": None, "susceptibility": None, "problem": None}
    try:
        card = _card(root)
        found |= {"name": card.get("name"), "lattice": card["lattice"], "action": card["action"]}
        found |= {"method": method_text(card), "steps": _steps(card), "step": _last_step(root / _METRICS)}
        summary = _summary(root)
    except InputError as error:
        return found | {"problem": str(error)}
    sampling, training = summary.get("sampling") or {}, summary.get("training") or {}
    untrusted = (summary.get("untrusted") or {}).keys()
    observables = summary.get("observables") or {}
    stages = {
        "measured": observables or untrusted - _OF_SAMPLES,
        "sampled": sampling,
        "trained": training or 0 < found["steps"] <= found["step"],
        "training": found["step"],
    }
    found["state"] = next((state for state, reached in stages.items() if reached), "new")
    acceptance = sampling.get("acceptance") or (training.get("evaluation") or {}).get("acceptance")
    found |= {"acceptance": acceptance, "proposals": sampling.get("proposals")}
    if "susceptibility" not in untrusted:
        found["susceptibility"] = observables.get("susceptibility")
    return found


def _card(root: Path) -> dict[str, Any]:
    path = root / _CARD
    try:
        card = yaml_text.parse(read_bytes(path).decode(), str(path))
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a run card") from error
    lattice, action = (card.get(key) if isinstance(card, dict) else None for key in ("lattice", "action"))
    plain = isinstance(lattice, list) and lattice and all(type(extent) is int for extent in lattice)
    sections = (
        all(isinstance(card.get(key) or {}, dict) for key in ("model", "training", "sampling")) if plain else False
    )
    if not sections or not isinstance(action, dict):
        raise InputError(f"{path}: is no run card, which has a lattice and an action")
    return card


def _summary(root: Path) -> dict[str, Any]:
    path = root / _SUMMARY
    again = f"run trivmap run --resume {root}, which writes it again"
    return read_json(path, again, shape=_SHAPE) if is_file(path) else {}


def _steps(card: dict[str, Any]) -> int:
    """The training steps that the card asks for, including those of its ladder."""
    training = card.get("training") or {}
    ladder = training.get("ladder")
    rungs = [{}, *(ladder if isinstance(ladder, list) else [])]
    own = [rung.get("steps") if isinstance(rung, dict) else None for rung in rungs]
    asked = [each if each is not None else training.get("steps") for each in own]
    return sum(each for each in asked if isinstance(each, int))


def _last_step(path: Path) -> int:
    """The last step in the log of a training."""
    if not is_file(path):
        return 0
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - _TAIL))
        lines = file.read().splitlines()
    for line in reversed(lines):
        with contextlib.suppress(ValueError, RecursionError, AttributeError):
            step = json.loads(line).get("step")
            if isinstance(step, int):
                return step
    return 0


def _cells(run: dict[str, Any]) -> list[str]:
    def number(estimate: dict[str, Any] | None) -> str:
        value, error = (estimate["value"], estimate["error"]) if estimate else (None, None)
        return NONE if value is None or error is None else parenthesis(value, error)

    state = f"step {run['step']} of {run['steps']}" if run["state"] == "training" else run["state"]
    return [
        run["run"],
        lattice_text([run["lattice"]]) if run["lattice"] else NONE,
        action_text([run["action"]]) if run["action"] else NONE,
        run["method"] or NONE,
        state,
        number(run["acceptance"]),
        NONE if run["proposals"] is None else grouped(run["proposals"]),
        number(run["susceptibility"]),
    ]
