"""The values of a card: strict types, with bounds set by machines and number formats.

Every error is a `pydantic_core.PydanticCustomError` whose message is the second half of a sentence; `cards.errors`
puts the dotted key in front.
"""

import contextlib
import math
import re
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from trivmap.arguments import DirectoryName, OneOf
from trivmap.errors import InputError, shown
from trivmap.lattice import Lattice

REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
"""`my_package.my_module:MyClass`, the user's own action, map, base or optimizer."""


def validation_error(sentence: str, key: str | None = None) -> PydanticCustomError:
    """The error with this `sentence` about the value being checked, or about `key` inside it."""
    return PydanticCustomError("refusal", "{sentence}", {"sentence": sentence, "key": key})


LARGEST_WHOLE = 2**31 - 1
"""Sizes and steps are counted in 32 bits."""
LARGEST_COUNT = 2**53
"""Largest integer in 64 bits and in JSON."""
LARGEST_REAL = 1e30
"""float32 ends at 3e38; products and squares have to fit as well."""
MOST_SITES = 2**24
"""Tables of displacements have an entry per site, and larger lattices take minutes and gigabytes for them alone."""
MOST_DIMENSIONS = 16
MOST_LAYERS = 512
"""Most layers, since each is compiled separately."""


def whole(value: object, most: int = LARGEST_WHOLE) -> int:
    """A whole number; 2e3 counts as one, true and "2000" do not."""
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise validation_error(f"must be a whole number, got {shown(value)}")
    if abs(number) > most:
        bits = "32" if most == LARGEST_WHOLE else "64"
        raise validation_error(f"must be at most {most}, as it is counted in {bits} bits, got {shown(value)}")
    return number


def real(value: object) -> float:
    """A finite number. Text that reads as a number is accepted too: in YAML 1.1, 1e-3 is text."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise validation_error(f"must be a number, got {shown(value)}")
    # Integers may be too long for a float.
    if isinstance(value, float) and not math.isfinite(value):
        raise validation_error(f"must be a finite number, got {value}")
    if abs(value) > LARGEST_REAL:
        raise validation_error(
            f"must be between -{LARGEST_REAL:g} and {LARGEST_REAL:g}, as its powers overflow float32 beyond that, "
            f"got {shown(value)}"
        )
    return float(value)


def flag(value: object) -> bool:
    """True or false; values that Python would convert are refused."""
    if not isinstance(value, bool):
        raise validation_error(f"must be true or false, got {shown(value)}")
    return value


def text(value: object) -> str:
    """Text; values that could be converted to text are refused."""
    if not isinstance(value, str):
        raise validation_error(f"must be text, got {shown(value)}")
    return value


def reference(value: object) -> str:
    """A reference to the user's own code, `my_module:MyClass`."""
    if not REFERENCE.fullmatch(text(value)):
        raise validation_error(f"must be a reference like my_module:MyClass, got {shown(value)}")
    return text(value)


def name(value: object) -> str:
    """The name of a directory."""
    value = text(value)
    try:
        DirectoryName().require(value)
    except InputError as error:
        raise validation_error(str(error)) from error
    return value


def require_lattice(extents: Iterable[int]) -> Lattice:
    """The lattice of these extents; refuses lattices with more sites than the tables of this package support."""
    lattice = Lattice(extents)
    if lattice.dimension > MOST_DIMENSIONS:
        raise validation_error(
            f"has {lattice.dimension} dimensions; at most {MOST_DIMENSIONS}, as an array has an axis for each",
            "lattice",
        )
    if lattice.volume > MOST_SITES:
        raise validation_error(
            f"has {shown(lattice.volume)} sites; at most {MOST_SITES}, as the table of its displacements alone would "
            "take minutes and gigabytes",
            "lattice",
        )
    return lattice


def require_layers(numbers: Iterable[int], key: str) -> None:
    """Refuse a total number of layers that would take too long to compile."""
    total = sum(numbers)
    if total > MOST_LAYERS:
        raise validation_error(f"has {total} layers; at most {MOST_LAYERS}, as each is compiled separately", key)


def at(key: str, check: Callable[[object], Any], value: object) -> Any:
    """`check(value)`, with an error that names `key` of the section being checked."""
    try:
        return check(value)
    except PydanticCustomError as error:
        raise validation_error((error.context or {})["sentence"], key) from error


class Checked:
    """A validator that compares a value with a mark of `trivmap.arguments`, such as `OneOf`, which is its `mark`."""

    def __init__(self, mark: Any):
        self.mark = mark

    def __call__(self, value: Any) -> Any:
        self.mark.require(value)
        return value


def one_of(known: Collection[str]) -> BeforeValidator:
    """Text that must be one of the `known` names."""
    return BeforeValidator(Checked(OneOf(known)))


Whole = Annotated[int, BeforeValidator(whole)]
Count = Annotated[Whole, Field(ge=1)]
Index = Annotated[Whole, Field(ge=0)]
Long = Annotated[int, BeforeValidator(partial(whole, most=LARGEST_COUNT))]
"""A number that may exceed 32 bits."""
LongCount = Annotated[Long, Field(ge=1)]
Real = Annotated[float, BeforeValidator(real)]
Name = Annotated[str, BeforeValidator(name)]
Text = Annotated[str, BeforeValidator(text)]
Threads = Annotated[Count, Field(le=2**16)]
Positive = Annotated[Real, Field(gt=0)]
Ratio = Annotated[Real, Field(ge=0, le=1)]
Flag = Annotated[bool, BeforeValidator(flag)]
Reference = Annotated[str, BeforeValidator(reference)]
