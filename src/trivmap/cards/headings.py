"""The keys that every card begins with, and its descriptive texts after overrides have changed it."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PrivateAttr, ValidationError

from trivmap.cards import yaml_text
from trivmap.cards.errors import sentence
from trivmap.cards.fields import Section
from trivmap.cards.values import Count, Flag, Long, Name, Threads, Whole
from trivmap.errors import InputError

_SCHEMA = 1
"""The newest card schema that this version reads."""
TEXTS = ("description", "reference", "deviations")
_CHANGED = "changed from "


class Heading(Section):
    """The keys that a card of any kind begins with."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_number: Count = Field(default=_SCHEMA, alias="schema")
    name: Name | None = None
    description: str | None = None
    reference: str | None = None
    deviations: str | None = None

    @classmethod
    def _validated(
        cls, data: Mapping[str, Any], source: str, written_out: Callable[[Mapping[str, Any], str], Any] | None = None
    ) -> Any:
        """The card of these keys and values, after `written_out(data, source)`; `InputError` for a newer schema."""
        schema = data.get("schema", _SCHEMA)
        if isinstance(schema, int) and schema > _SCHEMA:
            raise InputError(
                f"{source}: schema {schema} is newer than this trivmap, which reads {_SCHEMA}: upgrade trivmap"
            )
        try:
            return cls.model_validate(written_out(data, source) if written_out else data)
        except ValidationError as error:
            raise InputError(f"{source}: {sentence(error, data)}") from error

    def to_data(self) -> dict[str, Any]:
        """Plain data, every default written out."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """The whole card as YAML; reading it gives a card with the same runs."""
        return yaml_text.dump(self.to_data())


class LatticeCard(Heading):
    """A card of one lattice."""

    seed: Annotated[Long, Field(ge=0, lt=2**32)] = 0
    common_noise: Flag = False
    dtype: Literal["float32", "float64"] = "float32"
    device: Literal["cpu", "gpu", "tpu"] | None = None
    threads: Threads | None = None
    lattice: list[Whole] = Field(description="the list of extents, for example [8, 8]")
    _notes: tuple[str, ...] = PrivateAttr(default=())

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes about changes that were made so that overrides fit."""
        return self._notes


def true_headings(
    before: Mapping[str, Any], after: dict[str, Any], label: str, said_of: tuple[str, ...]
) -> dict[str, Any]:
    """The data after overrides, without texts that describe the card before them.

    If one of the sections `said_of` differs, the texts that no override sets are dropped, and the description names the
    sections that were changed.
    """
    changed = [section for section in said_of if before.get(section) != after.get(section)]
    stale = [text for text in TEXTS if after.get(text) is not None and after.get(text) == before.get(text)]
    if not changed or not stale:
        return after
    found = after | dict.fromkeys(stale)
    if "description" in stale or after.get("description") is None:
        found["description"] = f"{_CHANGED}{before.get('name') or label}: {', '.join(changed)}"
    return found


def heading(name: str | None, description: str | None) -> str:
    """The title of a card: its name, unless overrides changed the card, since the name is that of the original card."""
    return description if description and description.startswith(_CHANGED) else name or ""
