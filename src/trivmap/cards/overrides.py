"""`--set a.b=value`: one key of a card, changed from the command line."""

import copy
from collections.abc import Iterable
from typing import Any, NamedTuple

from trivmap.cards import yaml_text
from trivmap.cards.kernels import KINDS
from trivmap.cards.optimizer import OPTIMIZERS, minimizes_by_default
from trivmap.cards.registry import ACTIONS, BASES, DATA, MAPS, NETWORKS, OBJECTIVES, SCHEDULES, written_out
from trivmap.errors import InputError, cut, shown

_SECTIONS = {
    "action": ACTIONS.by_key,
    "base": BASES.by_key,
    "maps": MAPS.by_key,
    "network": NETWORKS.by_key,
    "objective": OBJECTIVES.by_key,
    "data": DATA.by_key,
    "optimizer": OPTIMIZERS,
    "learning_rate": SCHEDULES.by_key,
    "sampling": KINDS,
}
_TELLING = {"kind", "notation", "schedule"}
_DEEPEST = 16
"""Largest number of parts of a dotted key."""


class Change(NamedTuple):
    """One parsed override: the parts of its key, and the value."""

    path: tuple[str, ...]
    value: Any


def apply_overrides(data: dict[str, Any], overrides: Iterable[str | Change]) -> dict[str, Any]:
    """A copy of the card's data with every `a.b=value` applied; values are YAML, numbers in the key are list indices.

    Overrides that are applied many times are read once, by `read_override`.
    Missing sections are created. If the kind of a section changes (or the action's notation, or the learning rate's
    schedule), the keys that belonged to the old kind are dropped; for an action, all keys that no override gives.
    Raises `InputError` for an override that is not `key=value`, or whose key leads nowhere.
    """
    before, data = data, copy.deepcopy(data)
    changes = [read_override(each) if isinstance(each, str) else each for each in overrides]
    given = {change.path for change in changes}
    for change in sorted(changes, key=lambda change: change.path[-1] not in _TELLING):
        _carry_out(data, change, given)
    was, now = _minimizes(before), _minimizes(data)
    named = any(path[:2] == ("training", "objective") for path in given)
    if was and now and was != now and not named:
        # The objective belonged to the previous optimizer.
        data["training"].pop("objective", None)
    return data


def _minimizes(data: Any) -> str | None:
    """The objective of a card that names an optimizer and no objective; None for a card that names no optimizer."""
    for key in ("training", "optimizer"):
        data = data.get(key) if isinstance(data, dict) else None
    return minimizes_by_default(data) if isinstance(data, dict) and data.get("kind") is not None else None


def read_override(override: str) -> Change:
    """The override that `key=value` stands for; raises `InputError` for other texts."""
    key, equals, value = override.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise InputError(f"--set {cut(override)}: write key=value, for example --set training.steps=500")
    if yaml_text.is_torn(key):
        raise InputError(f"--set {shown(override)}: the key has bytes that are not text; write it in UTF-8")
    if len(path) > _DEEPEST:
        raise InputError(f"--set {cut(override)}: no key of a card has more than {_DEEPEST} parts, got {len(path)}")
    return Change(path, yaml_text.parse(value, f"--set {cut(override)}"))


def is_number(part: str) -> bool:
    """True for a part of a key that is an index; superscripts and the digits of other scripts do not count."""
    return part.isascii() and part.isdecimal() and len(part) < 10


def _carry_out(data: dict[str, Any], change: Change, given: set[tuple[str, ...]]) -> None:
    *parents, last = change.path
    holder: Any = data
    for depth, part in enumerate(parents):
        inner = _get(holder, part, change, depth)
        if part == "learning_rate" and isinstance(inner, (int, float)):
            inner = {"schedule": "constant", "peak": inner}
        if part == "objective" and isinstance(inner, str):
            inner = written_out(inner)
        if inner is None:
            inner = {}
        _put(holder, part, inner, change, depth)
        holder = inner
    before = _get(holder, last, change, len(parents))
    # A copy, because later overrides may change it in place, and one change is applied to several cards.
    _put(holder, last, copy.deepcopy(change.value), change, len(parents))
    names = [part for part in parents if not is_number(part)]
    if last in _TELLING and names and isinstance(holder, dict) and before != change.value:
        own = {
            path[len(parents)] for path in given if path[: len(parents)] == tuple(parents) and path != tuple(parents)
        }
        kept = _kept_keys(names[-1], last, holder) | own
        for key in [key for key in holder if key not in kept]:
            del holder[key]


def _kept_keys(name: str, key: str, section: dict[str, Any]) -> set[str]:
    """Keys of the changed section that keep their meaning."""
    if name == "action":
        # A coupling of the same name in another notation is another number.
        return {"kind"} if key == "kind" else {"kind", "notation"}
    chosen = _SECTIONS[name].section(section) if name in _SECTIONS else None
    return set(chosen.known_keys(section) or chosen.model_fields) if chosen else set(section)


def _get(holder: Any, part: str, change: Change, depth: int) -> Any:
    if isinstance(holder, dict):
        return holder.get(_own_key(holder, part))
    index = _index(holder, part, change, depth)
    return holder[index] if index < len(holder) else None


def _put(holder: Any, part: str, value: Any, change: Change, depth: int) -> None:
    if isinstance(holder, dict):
        holder[_own_key(holder, part)] = value
        return
    index = _index(holder, part, change, depth)
    if index == len(holder):
        holder.append(value)
    else:
        holder[index] = value


def _own_key(holder: dict[Any, Any], part: str) -> Any:
    """The key that `part` names: a number if the section has that number as a key, such as an L of a study."""
    number = int(part) if is_number(part) else part
    return number if number in holder else part


def _index(holder: Any, part: str, change: Change, depth: int) -> int:
    """The list index that `part` stands for; one past the end appends."""
    where, asked = ".".join(change.path[:depth]), cut(".".join(change.path))
    if not isinstance(holder, list):
        raise InputError(f"--set {asked}: {where} is {shown(holder)}, which has no keys of its own")
    if not is_number(part) or int(part) > len(holder):
        raise InputError(
            f"--set {asked}: {where} is a list, give a number from 0 to {len(holder)} instead of {shown(part)}"
        )
    return int(part)
