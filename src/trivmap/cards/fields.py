"""Sections of a card: they refuse unknown keys, and unions of them are distinguished by `kind`."""

import math
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from trivmap.cards.values import refusal, shown, suggestion


class Section(BaseModel):
    """A section of the card. Unknown keys and missing ones are refused before anything else is looked at.

    A subclass whose keys depend on its values (couplings on the notation) overrides `known_keys` and allows extra ones.
    Attributes are named as the keys; extra keys are in `arguments`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def known_keys(cls, data: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The keys a section with these values may have; None where any key is allowed."""
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
            raise refusal(f"must be a section of keys and values, got {shown(data)}")
        known = cls.known_keys(data)
        for key, value in data.items():
            if known is not None and key not in known:
                raise refusal(f"unknown key; {suggestion(key, known)}", str(key))
            if isinstance(value, float) and math.isnan(value):
                raise refusal("must be a finite number, got nan", str(key))
        for key in cls.needed_keys(data):
            if key not in data:
                raise refusal(cls._missing(key, data), key)
        return cls._prepared(dict(data))

    @classmethod
    def _missing(cls, key: str, data: Mapping[str, Any]) -> str:
        field = next((f for name, f in cls.model_fields.items() if key == (f.alias or name)), None)
        return f"missing; give {field.description}" if field and field.description else "missing"

    @classmethod
    def _prepared(cls, data: dict[str, Any]) -> dict[str, Any]:
        """The data with shorthands written out; a hook."""
        return data


class ByShape:
    """Marks a union of a plain value and a section or list, distinguished by shape: `Annotated[A | B, ByShape()]`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        plain, nested = (handler.generate_schema(member) for member in get_args(source))

        def tag(value: Any) -> str:
            return "<nested>" if isinstance(value, (Mapping, Section, list)) else "<plain>"

        return core_schema.tagged_union_schema({"<plain>": plain, "<nested>": nested}, discriminator=tag)


class ByKey:
    """Marks a union of sections, distinguished by the value of one key: `Annotated[A | B, ByKey()]`.

    A section whose key is typed `Reference` takes every value with a colon: `my_module:MyMap`.
    """

    def __init__(self, key: str = "kind"):
        self.key = key

    def sections(self, union: Any) -> dict[str, type[Section]]:
        """The section of each value of the key; that of a reference under ":"."""
        table = {}
        for section in get_args(union):
            names = get_args(section.model_fields[self.key].annotation)
            table |= dict.fromkeys(names or (":",), section)
        return table

    def section(self, union: Any, name: object) -> type[Section] | None:
        table = self.sections(union)
        return table.get(":" if ":" in str(name) else str(name))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        table = self.sections(source)
        # The tag is in angle brackets so that `cards.errors` can leave it out of the dotted key.
        choices: dict[Any, CoreSchema] = {
            f"<{section.__name__}>": handler.generate_schema(section) for section in set(table.values())
        }

        def tagged(value: Any) -> Any:
            if isinstance(value, Section):
                return value
            if not isinstance(value, Mapping):
                example = next(iter(table))
                raise refusal(f"must be a section such as {{{self.key}: {example}, ...}}, got {shown(value)}")
            names = [name for name in table if name != ":"]
            if self.key not in value:
                raise refusal(f"missing; give one of {', '.join(names)}", self.key)
            name = value[self.key]
            if self.section(source, name) is None:
                own = " (or your own, my_module:MyClass)" if ":" in table else ""
                raise refusal(f"{shown(name)} is unknown; {suggestion(name, names)}{own}", self.key)
            return value

        def tag(value: Any) -> str:
            if isinstance(value, Section):
                return f"<{type(value).__name__}>"
            section = self.section(source, value[self.key])
            return f"<{section.__name__}>" if section else ""

        return core_schema.no_info_before_validator_function(
            tagged, core_schema.tagged_union_schema(choices, discriminator=tag)
        )


def write_out(section: Section, **values: object) -> None:
    """Set defaults that follow from other keys while a frozen section is being validated.

    They become part of the card, so that `config.yaml` leaves nothing to be worked out.
    """
    for name, value in values.items():
        object.__setattr__(section, name, value)
