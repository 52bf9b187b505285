"""Sections of a card: they refuse unknown keys, and unions of them are distinguished by `kind`."""

import math
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from trivmap.cards.first_names import renamed
from trivmap.cards.values import validation_error
from trivmap.errors import shown, suggestion


class Section(BaseModel):
    """A section of the card. Unknown and missing keys are refused before anything else is checked.

    A subclass whose keys depend on its values (couplings on the notation) overrides `known_keys` and allows extra keys.
    Attributes have the names of the keys; extra keys are in `arguments`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def known_keys(cls, data: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The keys that a section with these values may have; None if any key is allowed."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    @classmethod
    def needed_keys(cls, data: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(field.alias or name for name, field in cls.model_fields.items() if field.is_required())

    @property
    def arguments(self) -> dict[str, Any]:
        """The keys beyond the declared ones."""
        return dict(self.model_extra or {})

    @model_validator(mode="before")
    @classmethod
    def _keys(cls, data: Any) -> Any:
        if isinstance(data, cls):
            return data
        if not isinstance(data, Mapping):
            raise validation_error(f"must be a section of keys and values, got {shown(data)}")
        known = cls.known_keys(data)
        for key, value in data.items():
            if not isinstance(key, str):
                raise validation_error(f"has the key {shown(key)}, which is not text; put it in quotes")
            if known is not None and key not in known:
                raise validation_error(f"unknown key; {renamed(key, known) or suggestion(key, known)}", key)
            if isinstance(value, float) and math.isnan(value):
                raise validation_error("must be a finite number, got nan", str(key))
        for key in cls.needed_keys(data):
            if key not in data:
                raise validation_error(cls._missing(key, data), key)
        return cls._prepared(dict(data))

    @classmethod
    def _missing(cls, key: str, data: Mapping[str, Any]) -> str:
        field = next((f for name, f in cls.model_fields.items() if key == (f.alias or name)), None)
        # The rest of a description is an explanation.
        return f"missing; give {field.description.split(';')[0]}" if field and field.description else "missing"

    @classmethod
    def _prepared(cls, data: dict[str, Any]) -> dict[str, Any]:
        """The data with shorthands expanded; a hook for subclasses."""
        return data


class ByShape:
    """Marks a union of a plain value and a section or list, distinguished by shape: `Annotated[A | B, ByShape()]`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        plain, nested = (handler.generate_schema(member) for member in get_args(source))

        def tag(value: Any) -> str:
            return "<nested>" if isinstance(value, (Mapping, Section, list)) else "<plain>"

        return core_schema.tagged_union_schema({"<plain>": plain, "<nested>": nested}, discriminator=tag)


class ByKey:
    """Marks a section as one of several, distinguished by one key: `Annotated[Section, ByKey("kind", {"adam": Adam})]`.

    Args:
        key: the key that distinguishes them.
        table: the section for each value, or another `ByKey`, which distinguishes by a second key.
        own: the section for a value with a colon, `my_module:MyMap`, if such values are allowed.
    """

    def __init__(self, key: str, table: "Mapping[str, type[Section] | ByKey]", own: type[Section] | None = None):
        self.key, self.table, self.own = key, table, own

    def section(self, data: Mapping[str, Any]) -> type[Section] | None:
        """The section for these values; None if there is none."""
        found = self._entry(data.get(self.key))
        return found.section(data) if isinstance(found, ByKey) else found

    def _entry(self, name: object) -> "type[Section] | ByKey | None":
        if isinstance(name, str) and ":" in name and self.own:
            return self.own
        return self.table.get(name) if isinstance(name, str) else None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # The tag is in angle brackets so that `cards.errors` can leave it out of the dotted key.
        choices: dict[Any, CoreSchema] = {}
        for name, entry in {**self.table, **({":": self.own} if self.own else {})}.items():
            nested = isinstance(entry, ByKey)
            choices[f"<{name}>"] = (
                entry.__get_pydantic_core_schema__(source, handler) if nested else handler.generate_schema(entry)
            )

        def tagged(value: Any) -> Any:
            if isinstance(value, Section):
                return value
            names = list(self.table)
            if not isinstance(value, Mapping):
                raise validation_error(f"must be a section such as {{{self.key}: {names[0]}, ...}}, got {shown(value)}")
            if self.key not in value:
                raise validation_error(f"missing; give one of {', '.join(names)}", self.key)
            if self._entry(value[self.key]) is None:
                own = " (or your own, my_module:MyClass)" if self.own else ""
                raise validation_error(
                    f"{shown(value[self.key])} is unknown; {suggestion(value[self.key], names)}{own}", self.key
                )
            return value

        def tag(value: Any) -> str:
            name = getattr(value, self.key) if isinstance(value, Section) else value[self.key]
            return f"<{name}>" if name in self.table else "<:>"

        return core_schema.no_info_before_validator_function(
            tagged, core_schema.tagged_union_schema(choices, discriminator=tag)
        )


def write_out(section: Section, **values: object) -> None:
    """Set defaults that follow from other keys while a frozen section is being validated.

    They become part of the card, so that `config.yaml` is complete.
    """
    for name, value in values.items():
        object.__setattr__(section, name, value)
