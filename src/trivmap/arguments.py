"""The types of arguments with their bounds, which constructors and run cards check.

>>> @bounded
... def spline(bins: Annotated[int, Bounds(least=2, most=500)] = 8): ...
"""

import functools
import inspect
import math
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from trivmap.errors import InputError, shown, suggestion
from trivmap.lattice import Lattice

Made = TypeVar("Made", bound=Callable[..., Any])


DIRECTORY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


class Bounds(NamedTuple):
    """Bounds of a finite number, from `least` to `most`, or between `above` and `below`.

    `why` is what happens beyond them.
    """

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    why: str = ""

    def require(self, value: Any) -> None:
        """Raise `InputError` for a number out of bounds."""
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"must be a finite number, got {value}")
        if math.isfinite(self.least) and math.isfinite(self.most):
            if not self.least <= value <= self.most:
                beyond = f", beyond which {self.why}" if self.why else ""
                raise InputError(f"must be between {self.least:g} and {self.most:g}{beyond}, got {shown(value)}")
            return
        because = f": {self.why}" if self.why else ""
        if value < self.least:
            raise InputError(f"must be at least {self.least:.15g}, got {shown(value)}{because}")
        if not value > self.above:
            raise InputError(f"must be greater than {self.above:.15g}, got {shown(value)}{because}")
        if value > self.most:
            raise InputError(f"must be at most {self.most:.15g}, got {shown(value)}{because}")
        if not value < self.below:
            raise InputError(f"must be less than {self.below:.15g}, got {shown(value)}{because}")


class OneOf(NamedTuple):
    """One of the known `names`."""

    names: Collection[str]

    def require(self, value: Any) -> None:
        """Raise `InputError` for any other value, with the nearest known name."""
        if not any(type(value) is type(name) and value == name for name in self.names):
            raise InputError(f"{shown(value)} is unknown; {suggestion(value, map(str, self.names))}")


class Odd(NamedTuple):
    """A whole number that is odd."""

    def require(self, value: Any) -> None:
        """Raise `InputError` for an even number."""
        if value % 2 == 0:
            raise InputError(f"must be odd so that there is a center, got {value}")


class Checkerboard(NamedTuple):
    """A lattice whose sites have two colors."""

    def require(self, value: Lattice) -> None:
        """Raise `InputError` for an odd extent."""
        value.require_checkerboard()


class DirectoryName(NamedTuple):
    """The name of a directory: not a path, and without characters that are special in a shell or a terminal."""

    most: int = 200
    """Systems allow names of 255 bytes, and files beside a directory have longer names than the directory."""

    def require(self, value: Any) -> None:
        """Raise `InputError` for any other text."""
        if len(value) > self.most:
            raise InputError(f"must have at most {self.most} characters, as it names a directory, got {len(value)}")
        if not DIRECTORY_NAME.fullmatch(value):
            raise InputError(
                "names a directory: use letters, digits, '.', '_', '+' and '-', a letter or digit first, "
                f"got {shown(value)}"
            )


class LayerWidth(NamedTuple):
    """The width of a layer: a number of units, or `1.0V`, a multiple of the number V of sites."""

    most: int = 2**24

    def require(self, value: Any) -> None:
        """Raise `InputError` for an invalid width, or a width that makes matrices of weights too large."""
        if not isinstance(value, str):
            return Bounds(least=1).require(value)
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)V", value)
        if match is None or not float(match[1]) > 0:
            raise InputError(
                f"must be a number of units like 32, or a positive multiple of the sites like 1.0V, got {shown(value)}"
            )
        if float(match[1]) > self.most:
            raise InputError(f"must be at most {self.most}V, got {shown(value)}")

    def units(self, widths: Iterable[int | str], volume: int) -> list[int]:
        """Widths in units: xV is x times the number of sites, rounded, at least 1.

        Raises `InputError` for widths that make matrices of weights too large.
        """
        widths = list(widths)
        found = [w if isinstance(w, int) else max(1, round(float(w[:-1]) * volume)) for w in widths]
        for given, number in zip(widths, found, strict=True):
            if number > self.most:
                raise InputError(
                    f"hidden: {given} stands for {number} units, and a layer has at most {self.most}: two such layers "
                    "would have more weights than memory has bytes"
                )
        return found


LARGEST_COUPLING = 1e12
"""For larger couplings, terms of order 1 in the action are lost to rounding, even in float64."""
_LOST = "rounding swallows everything else"

Count = Annotated[int, Bounds(least=1)]
Index = Annotated[int, Bounds(least=0)]
Positive = Annotated[float, Bounds(above=0)]
Ratio = Annotated[float, Bounds(least=0, most=1)]
Coupling = Annotated[float, Bounds(least=-LARGEST_COUPLING, most=LARGEST_COUPLING, why=_LOST)]
Width = Annotated[int | str, LayerWidth()]
CheckerboardLattice = Annotated[Lattice, Checkerboard()]


def bounded(make: Made) -> Made:
    """The function, with a check of its arguments against the bounds in their annotations.

    When it is called with an argument out of bounds, it raises an `InputError` that names the argument.
    """
    signature = inspect.signature(make)
    hints: dict[str, Any] = {}

    @functools.wraps(make)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if not hints:
            hints.update(get_type_hints(make, include_extras=True))
        require_within({name: hints[name] for name in signature.parameters if name in hints}, _bound(args, kwargs))
        return make(*args, **kwargs)

    def _bound(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
        try:
            return signature.bind(*args, **kwargs).arguments
        except TypeError:
            # The call itself reports which argument is missing or unknown.
            return {}

    return checked  # type: ignore[return-value]


def require_fields(instance: Any) -> None:
    """The same check for the fields of a dataclass, to be called in its `__post_init__`."""
    require_within(get_type_hints(type(instance), include_extras=True), vars(instance))


def require_within(hints: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Raise `InputError` for the first of the named values that is out of the bounds of its annotation."""
    for name, annotation in hints.items():
        if name in values:
            try:
                _require(annotation, values[name])
            except InputError as error:
                said = str(error)
                raise InputError(said if said.startswith(f"{name}: ") else f"{name}: {said}") from None


def _require(annotation: Any, value: Any) -> None:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        _require(inner[0], value)
        for mark in inner[1:]:
            if hasattr(mark, "require"):
                mark.require(value)
    elif origin in (Union, types.UnionType):
        options = [each for each in inner if each is not types.NoneType]
        if value is not None and len(options) == 1:
            _require(options[0], value)
    elif origin in (Sequence, list, tuple) and isinstance(value, Sequence):
        for each in value:
            _require(inner[0], each)
    elif origin is Literal:
        OneOf(inner).require(value)
