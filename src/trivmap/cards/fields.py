"""Building blocks of the run card's schema: strict values, sections that refuse unknown keys, sections told by `kind`.

Every refusal is a `pydantic_core.PydanticCustomError` whose message is the second half of a sentence; `cards.errors`
puts the dotted key in front.
"""

import contextlib
import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
"""`my_package.my_module:MyClass`, the user's own action, map, base or optimiser."""


def refusal(sentence: str, key: str | None = None) -> PydanticCustomError:
    """The error saying `sentence` about the value at hand, or about `key` inside it."""
    return PydanticCustomError("refusal", "{sentence}", {"sentence": sentence, "key": key})


def suggestion(word: object, known: Iterable[str]) -> str:
    """`did you mean X?`, or the list of what is known."""
    names = list(known)
    near = difflib.get_close_matches(str(word), names, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(names)}"


def _shown(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def whole(value: object) -> int:
    """A whole number; 2e3 counts as one, true and "2000" do not."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise refusal(f"must be a whole number, got {_shown(value)}")
    return value


def real(value: object) -> float:
    """A finite number. Text that reads as one is taken too: YAML 1.1 has 1e-3 as text."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refusal(f"must be a number, got {_shown(value)}")
    if not math.isfinite(value):
        raise refusal(f"must be a finite number, got {value}")
    return float(value)


def flag(value: object) -> bool:
    """True or false, nothing that merely counts as one."""
    if not isinstance(value, bool):
        raise refusal(f"must be true or false, got {_shown(value)}")
    return value


def width(value: object) -> int | str:
    """The width of a hidden layer: a number of units, or `1.0V`, a multiple of the number of sites."""
    if isinstance(value, str):
        text = value.strip()
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)V", text)
        if match is None or not float(match[1]) > 0:
            raise refusal(
                f"must be a number of units like 32, or a positive multiple of the sites like 1.0V, got {value!r}"
            )
        return text
    number = whole(value)
    if number < 1:
        raise refusal(f"must be at least 1, got {number}")
    return number


def units(hidden: Iterable[int | str], volume: int) -> list[int]:
    """Hidden widths in units, `xV` being x times the number of sites, rounded, at least 1."""
    return [w if isinstance(w, int) else max(1, round(float(w[:-1]) * volume)) for w in hidden]


def at(key: str, check: Callable[[object], Any], value: object) -> Any:
    """`check(value)`, its refusal pointing at `key` of the section at hand."""
    try:
        return check(value)
    except PydanticCustomError as error:
        raise refusal((error.context or {})["sentence"], key) from error


def one_of(known: Iterable[str]) -> BeforeValidator:
    """Text that must be one of the `known` names."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise refusal(f"{value!r} is unknown; {suggestion(value, known)}")
        return value

    return BeforeValidator(check)


Whole = Annotated[int, BeforeValidator(whole)]
Count = Annotated[Whole, Field(ge=1)]
Index = Annotated[Whole, Field(ge=0)]
Real = Annotated[float, BeforeValidator(real)]
Positive = Annotated[Real, Field(gt=0)]
Ratio = Annotated[Real, Field(ge=0, le=1)]
Flag = Annotated[bool, BeforeValidator(flag)]
Width = Annotated[int | str, BeforeValidator(width)]
Reference = Annotated[str, Field(pattern=f"^{REFERENCE.pattern}$")]


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
            raise refusal(f"must be a section of keys and values, got {_shown(data)}")
        known = cls.known_keys(data)
        for key in data:
            if known is not None and key not in known:
                raise refusal(f"unknown key; {suggestion(key, known)}", str(key))
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
    """Marks a union of a plain value and a section or list, told apart by its shape: `Annotated[A | B, ByShape()]`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        plain, nested = (handler.generate_schema(member) for member in get_args(source))

        def tag(value: Any) -> str:
            return "<nested>" if isinstance(value, (Mapping, Section, list)) else "<plain>"

        return core_schema.tagged_union_schema({"<plain>": plain, "<nested>": nested}, discriminator=tag)


class ByKey:
    """Marks a union of sections, told apart by the value of one key: `Annotated[A | B, ByKey()]`.

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

        def told(value: Any) -> Any:
            if isinstance(value, Section):
                return value
            if not isinstance(value, Mapping):
                example = next(iter(table))
                raise refusal(f"must be a section such as {{{self.key}: {example}, ...}}, got {_shown(value)}")
            names = [name for name in table if name != ":"]
            if self.key not in value:
                raise refusal(f"missing; give one of {', '.join(names)}", self.key)
            name = value[self.key]
            if self.section(source, name) is None:
                own = " (or your own, my_module:MyClass)" if ":" in table else ""
                raise refusal(f"{name!r} is unknown; {suggestion(name, names)}{own}", self.key)
            return value

        def tag(value: Any) -> str:
            if isinstance(value, Section):
                return f"<{type(value).__name__}>"
            section = self.section(source, value[self.key])
            return f"<{section.__name__}>" if section else ""

        return core_schema.no_info_before_validator_function(
            told, core_schema.tagged_union_schema(choices, discriminator=tag)
        )


def write_out(section: Section, **values: object) -> None:
    """Set defaults that follow from other keys while a frozen section is being validated.

    They become part of the card, so that `config.yaml` leaves nothing to be worked out.
    """
    for name, value in values.items():
        object.__setattr__(section, name, value)
