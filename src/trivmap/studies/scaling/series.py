"""One series of a study: an architecture with its training, and the names of its runs."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from trivmap.cards.fields import Section
from trivmap.cards.overrides import is_number
from trivmap.cards.values import Count, Index, validation_error

Extent = Annotated[Count, BeforeValidator(lambda key: int(key) if isinstance(key, str) and is_number(key) else key)]
"""A key that is a lattice; JSON and overrides write it as text."""


class Series(Section):
    """An architecture with its training: sections of a run card, and a `grid` of settings to vary.

    `use` takes model and training of a preset of run cards. An axis of the grid is a key of the run card with the list
    of its values, or a name with overrides for each label. With `transfer` every run starts from the trained map of the
    next smaller lattice. `seeds_at` are the seeds for some L, in place of `seeds`; `set_at` are overrides for some
    L, applied after those of `set` and before those of the grid.
    """

    use: str | None = None
    model: dict[str, Any] | None = None
    training: dict[str, Any] | None = None
    sampling: dict[str, Any] | None = None
    measure: dict[str, Any] | None = None
    set: list[str] = Field(default=[])
    grid: dict[str, Any] = Field(default={})
    extents: list[Count] | None = None
    seeds: list[Index] | None = None
    seeds_at: dict[Extent, list[Index]] = Field(default={})
    set_at: dict[Extent, list[str]] = Field(default={})
    transfer: bool = False


def require_some(values: list[int], key: str, otherwise: str) -> None:
    """Refuse an empty list, and a list with a value twice: two runs would have the same name."""
    if not values:
        raise validation_error(f"empty; {otherwise}", key)
    if len(set(values)) < len(values):
        raise validation_error("one value is given twice", key)


def run_name_of(series: str, labels: Mapping[str, str], extent: int, seed: int) -> str:
    """The name of the run's directory."""
    parts = [series, *(_slug(label) for label in labels.values()), f"L{extent}", f"seed{seed}"]
    return "_".join(parts)


def labeled(values: Mapping[str, Any]) -> bool:
    """True if an axis of a grid has a list of overrides for every label."""
    return all(isinstance(each, list) and all(isinstance(text, str) for text in each) for each in values.values())


def label_of(value: Any) -> str:
    """The label for a value of a key."""
    return value if isinstance(value, str) else json.dumps(value)


def _slug(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", label).strip("-") or "none"
