"""The run cards that are shipped."""

import copy
import functools
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

from trivmap.cards import yaml_text
from trivmap.errors import InputError, cut, prefixed, suggestion


class Preset(NamedTuple):
    """A shipped card: its purpose, the study that it reproduces, and its deviations from that."""

    name: str
    description: str
    reference: str
    deviations: str


RUNS = "trivmap.cards"
"""The package whose presets are run cards; other packages may have presets too."""


def _folder(package: str) -> Traversable:
    return files(package).joinpath("presets")


def preset_names(package: str = RUNS) -> list[str]:
    """Names of the presets, `quickstart` first."""
    files_there = [entry.name for entry in _folder(package).iterdir()]
    names = sorted(name.removesuffix(".yaml") for name in files_there if name.endswith(".yaml"))
    return sorted(names, key=lambda name: name != "quickstart")


def preset_text(name: str, package: str = RUNS) -> str:
    """The YAML of a preset; raises `InputError` for an unknown name."""
    names = preset_names(package)
    if name not in names:
        raise InputError(
            f"{cut(name)}: no preset of that name, {suggestion(name, names)} "
            "(a file's name must end in .yaml or contain a slash)"
        )
    return _folder(package).joinpath(f"{name}.yaml").read_text(encoding="utf-8")


@functools.cache
def _parsed(name: str, package: str) -> Any:
    return yaml_text.parse(preset_text(name, package), name)


def trained_by(name: str, where: str) -> dict[str, Any]:
    """Model and training of a run-card preset, as copies that the caller may change.

    Raises `InputError`, beginning with the key `where` that names the preset, for an unknown name.
    """
    with prefixed(f"{where}: "):
        preset = _parsed(name, RUNS)
    return copy.deepcopy({key: preset[key] for key in ("model", "training") if key in preset})


def presets(package: str = RUNS) -> list[Preset]:
    """Every preset with its documentation, `quickstart` first."""
    cards = ((name, _parsed(name, package)) for name in preset_names(package))
    return [Preset(name, card["description"], card["reference"], card["deviations"]) for name, card in cards]
