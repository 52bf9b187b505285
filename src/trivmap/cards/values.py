"""The values of a card: strict types, each with the bound beyond which no machine or number format goes.

Every refusal is a `pydantic_core.PydanticCustomError` whose message is the second half of a sentence; `cards.errors`
puts the dotted key in front.
"""

import contextlib
import difflib
import math
import re
import reprlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from trivmap.errors import InputError
from trivmap.lattice import Lattice

REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
"""`my_package.my_module:MyClass`, the user's own action, map, base or optimizer."""


def refusal(sentence: str, key: str | None = None) -> PydanticCustomError:
    """The error saying `sentence` about the value at hand, or about `key` inside it."""
    return PydanticCustomError("refusal", "{sentence}", {"sentence": sentence, "key": key})


def suggestion(word: object, known: Iterable[str]) -> str:
    """`did you mean X?`, or the list of what is known."""
    names = list(known)
    text = word[:100] if isinstance(word, str) else shown(word)
    near = difflib.get_close_matches(text, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(names)}"


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60
_REPR.maxlist = _REPR.maxdict = _REPR.maxtuple = _REPR.maxset = 8
_REPR.maxlevel = 3


def cut(text: str, most: int = 100) -> str:
    """The beginning of a key or a name in a sentence."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def shown(value: object) -> str:
    """A value in a sentence: cut to a line, and looked at no further than that."""
    return "nothing" if value is None else cut(_REPR.repr(value), 80)


LARGEST_WHOLE = 2**31 - 1
"""Sizes and steps are counted in 32 bits."""
LARGEST_COUNT = 2**53
"""Largest number that is counted in 64 bits, and in JSON."""
LARGEST_REAL = 1e30
"""float32 ends at 3e38; products and squares have to fit as well."""
LARGEST_COUPLING = 1e12
"""Beyond that the terms of an action of order 1 are lost to rounding, in float64 too."""
LARGEST_WIDTH = 2**24
MOST_SITES = 2**24
"""Tables of displacements have an entry per site, and larger lattices take minutes and gigabytes for them alone."""
MOST_DIMENSIONS = 16
MOST_LAYERS = 512
"""Each layer is compiled by itself."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
"""Names of things that become directories of that name."""
LONGEST_NAME = 200
"""Systems end names at 255 bytes, and files beside a directory have longer names than the directory."""


def whole(value: object, most: int = LARGEST_WHOLE) -> int:
    """A whole number; 2e3 counts as one, true and "2000" do not."""
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise refusal(f"must be a whole number, got {shown(value)}")
    if abs(number) > most:
        bits = "32" if most == LARGEST_WHOLE else "64"
        raise refusal(f"must be at most {most}, as it is counted in {bits} bits, got {shown(value)}")
    return number


def real(value: object, most: float = LARGEST_REAL) -> float:
    """A finite number. Text that reads as one is taken too: YAML 1.1 has 1e-3 as text."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refusal(f"must be a number, got {shown(value)}")
    # Integers may be too long for a float.
    if isinstance(value, float) and not math.isfinite(value):
        raise refusal(f"must be a finite number, got {value}")
    if abs(value) > most:
        why = "rounding swallows everything else" if most == LARGEST_COUPLING else "float32 has no room for its powers"
        raise refusal(f"must be between -{most:g} and {most:g}, beyond which {why}, got {shown(value)}")
    return float(value)


def flag(value: object) -> bool:
    """True or false, nothing that merely counts as one."""
    if not isinstance(value, bool):
        raise refusal(f"must be true or false, got {shown(value)}")
    return value


def width(value: object) -> int | str:
    """The width of a hidden layer: a number of units, or `1.0V`, a multiple of the number of sites."""
    if isinstance(value, str):
        text = value.strip()
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)V", text)
        if match is None or not float(match[1]) > 0:
            raise refusal(
                f"must be a number of units like 32, or a positive multiple of the sites like 1.0V, got {shown(value)}"
            )
        if float(match[1]) > LARGEST_WIDTH:
            raise refusal(f"must be at most {LARGEST_WIDTH}V, got {shown(value)}")
        return text
    number = whole(value)
    if number < 1:
        raise refusal(f"must be at least 1, got {number}")
    return number


def units(hidden: Iterable[int | str], volume: int) -> list[int]:
    """Hidden widths in units, `xV` being x times the number of sites, rounded, at least 1.

    Raises `InputError` for more than any matrix of weights has room for.
    """
    found = [w if isinstance(w, int) else max(1, round(float(w[:-1]) * volume)) for w in hidden]
    for given, number in zip(hidden, found, strict=True):
        if number > LARGEST_WIDTH:
            raise InputError(
                f"network.hidden: {given} stands for {number} units, and a layer has at most {LARGEST_WIDTH}: two such "
                "layers would have more weights than memory has bytes"
            )
    return found


def name(value: object) -> str:
    """The name of a directory: no path, nothing that a shell or a terminal takes for something else."""
    if not isinstance(value, str):
        raise refusal(f"must be text, got {shown(value)}")
    if len(value) > LONGEST_NAME:
        raise refusal(f"must have at most {LONGEST_NAME} characters, as it names a directory, got {len(value)}")
    if not NAME.fullmatch(value):
        raise refusal(
            "names a directory: use letters, digits, '.', '_', '+' and '-', a letter or digit first, "
            f"got {shown(value)}"
        )
    return value


def require_lattice(extents: Iterable[int]) -> Lattice:
    """The lattice of these extents; refuses more sites than any table of this package is made for."""
    lattice = Lattice(extents)
    if lattice.dimension > MOST_DIMENSIONS:
        raise refusal(
            f"has {lattice.dimension} dimensions; at most {MOST_DIMENSIONS}, as an array has an axis for each",
            "lattice",
        )
    if lattice.volume > MOST_SITES:
        raise refusal(
            f"has {shown(lattice.volume)} sites; at most {MOST_SITES}, as the table of its displacements alone would "
            "take minutes and gigabytes",
            "lattice",
        )
    return lattice


def require_layers(numbers: Iterable[int], key: str) -> None:
    """Refuse more layers in all than anyone would wait for."""
    total = sum(numbers)
    if total > MOST_LAYERS:
        raise refusal(f"has {total} layers; at most {MOST_LAYERS}, as each is compiled by itself", key)


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
            raise refusal(f"{shown(value)} is unknown; {suggestion(value, known)}")
        return value

    return BeforeValidator(check)


Whole = Annotated[int, BeforeValidator(whole)]
Count = Annotated[Whole, Field(ge=1)]
Index = Annotated[Whole, Field(ge=0)]
Long = Annotated[int, BeforeValidator(partial(whole, most=LARGEST_COUNT))]
"""A number that may be more than 32 bits can count."""
LongCount = Annotated[Long, Field(ge=1)]
Real = Annotated[float, BeforeValidator(real)]
Coupling = Annotated[float, BeforeValidator(partial(real, most=LARGEST_COUPLING))]
Name = Annotated[str, BeforeValidator(name)]
Threads = Annotated[Count, Field(le=2**16)]
Positive = Annotated[Real, Field(gt=0)]
Ratio = Annotated[Real, Field(ge=0, le=1)]
Flag = Annotated[bool, BeforeValidator(flag)]
Width = Annotated[int | str, BeforeValidator(width)]
Reference = Annotated[str, Field(pattern=f"^{REFERENCE.pattern}$")]
