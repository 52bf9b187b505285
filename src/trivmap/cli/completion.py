"""Tab completion of cards, keys of cards with their words, and directories of runs, from file names alone.

Nothing slow is imported here, and the only file read is the list of keys: an answer takes a fifth of a second.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from click.shell_completion import BashComplete, add_completion_class

_PACKAGE = Path(__file__).resolve().parents[1]
_PRESETS = {"run": "cards/presets", "compare": "studies/presets", "study": "studies/scaling/presets"}
"""The folder of the presets of each kind of card, by the command that runs it."""
_MARKS = {"run": "config.yaml", "compare": "comparison.yaml", "study": "study.yaml"}
"""The file by which a directory of each kind is known."""
_RUN_CARDS = ("run", "train")
_SECTIONS = {"sample": ("sampling.",), "measure": ("measure.",)}
"""The beginnings of the keys that steps of a run may change."""
_SHARED = ("seed", "name", "description", "device", "dtype", "threads", "lattice", "action")
"""The keys that cards of comparisons and studies have in common with run cards."""


def complete_card(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Presets of the command's kind of card, and YAML files and folders in the folder that is being typed."""
    if context.command.name == "validate":
        return [*complete_preset(context, parameter, incomplete), *_files(incomplete)]
    kind = "run" if context.command.name in _RUN_CARDS else str(context.command.name)
    return [*_starting(incomplete, _preset_names(kind)), *_files(incomplete)]


def complete_preset(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Presets of every kind."""
    return [name for kind in _PRESETS for name in _starting(incomplete, _preset_names(kind))]


def complete_run_or_card(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Presets of every kind, YAML files, and run directories."""
    given = (context, parameter, incomplete)
    return list(dict.fromkeys([*complete_preset(*given), *_files(incomplete), *complete_directory(*given)]))


def complete_key(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """`KEY=` for the keys of the card, and `KEY=WORD` once a key with known words is there."""
    command = str(context.command.name)
    begins = _SECTIONS.get(command, _SHARED if command in ("compare", "study") else ("",))
    text = (_PACKAGE / "cards" / "keys.txt").read_text(encoding="utf-8")
    known = {key: words for key, *words in map(str.split, text.splitlines()) if key.startswith(begins)}
    key, equals, value = incomplete.partition("=")
    parts = key.split(".")
    # The list writes position 0 for all positions.
    pattern = ".".join("0" if part.isdecimal() else part for part in parts)
    if equals:
        return [f"{key}={word}" for word in _starting(value, known.get(pattern, []))]
    return [f"{_at_positions(each, parts)}=" for each in _starting(pattern, known)]


def complete_directory(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Directories of runs (of comparisons, of studies), and with a slash the other folders on the way to them."""
    mark = _MARKS.get(str(context.command.name), _MARKS["run"])
    places = [incomplete] if incomplete or not os.path.isdir("runs") else ["runs/", incomplete]
    found = [each for place in places for each in _folders(place)]
    return [each if os.path.isfile(os.path.join(os.path.expanduser(each), mark)) else f"{each}/" for each in found]


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _at_positions(key: str, typed: list[str]) -> str:
    """The key with the positions in lists that were typed."""
    parts = key.split(".")
    return ".".join(given if given.isdecimal() else part for given, part in zip(typed, parts, strict=False)) + "".join(
        f".{part}" for part in parts[len(typed) :]
    )


def _preset_names(kind: str) -> list[str]:
    names = os.listdir(_PACKAGE / _PRESETS[kind])
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def _entries(incomplete: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The entries of the folder that is being typed, as they would be typed; hidden ones only after a dot."""
    folder, slash, start = incomplete.rpartition("/")
    with contextlib.suppress(OSError), os.scandir(os.path.expanduser(folder + slash) or ".") as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith(start) and (start or not entry.name.startswith(".")):
                yield f"{folder}{slash}{entry.name}", entry


def _files(incomplete: str) -> list[str]:
    found = []
    for path, entry in _entries(incomplete):
        with contextlib.suppress(OSError):
            if entry.is_dir():
                found.append(f"{path}/")
            elif entry.name.endswith((".yaml", ".yml")):
                found.append(path)
    return found


def _folders(incomplete: str) -> list[str]:
    found = []
    for path, entry in _entries(incomplete):
        with contextlib.suppress(OSError):
            found += [path] if entry.is_dir() else []
    return found


@add_completion_class
class Bash(BashComplete):
    """Completion in bash, which splits `KEY=VALUE` at `=` and would add a space after it and after a folder."""

    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)", "[[ $value == *[=/] ]] && compopt -o nospace\n            COMPREPLY+=($value)"
    )
    _apart = False

    def get_completion_args(self) -> tuple[list[str], str]:
        before, incomplete = super().get_completion_args()
        if incomplete == "=":
            before, incomplete = [*before, "="], ""
        self._apart = before[-1:] == ["="]
        args: list[str] = []
        for word in [*before, incomplete]:
            if args and args[-1].startswith("-"):
                args += [word] if word != "=" else []
            elif args and (word == "=" or args[-1].endswith("=")):
                args[-1] += word
            else:
                args.append(word)
        return args[:-1], args[-1]

    def format_completion(self, item: Any) -> str:
        value = str(item.value).rpartition("=")[2] if self._apart else item.value
        return f"{item.type},{value}"
