"""Makes the section of a card from the typed signature of a constructor, and the object from the section.

Every argument of the constructor is a key of the section, except those that the library offers (the lattice, the
action, the precision, keys for random numbers). Types become strict checks, bounds become errors, defaults stay
defaults, and the line of an argument in the docstring's `Args:` list describes the key.
"""

import contextlib
import dataclasses
import functools
import inspect
import re
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, create_model

from trivmap.arguments import Checkerboard, OneOf
from trivmap.cards.fields import Section
from trivmap.cards.values import Checked, flag, real, text, whole
from trivmap.errors import InputError
from trivmap.lattice import Lattice

_PLAIN: Mapping[type, Callable[[object], Any]] = {bool: flag, int: whole, float: real, str: text}
UNIONS: dict[type, Any] = {}
"""The type of a key that holds an object of an abstract class, for each class that has a registry."""


class Component(Section):
    """A section that stands for an object; one of its keys names the component."""

    key: ClassVar[str] = "kind"
    needs_checkerboard: ClassVar[bool] = False

    @property
    def named(self) -> str:
        """The name of the component."""
        return getattr(self, self.key)

    def build(self, where: str, **offered: Any) -> Any:
        """The object, made with those of the `offered` arguments that its constructor takes.

        Raises `InputError` with a key below `where`.
        """
        raise NotImplementedError

    def require_fit(self, lattice: Lattice, where: str) -> None:
        """Raise `InputError` if a part would be too large on this lattice; nothing is drawn."""


class Constructed(Component):
    """A section whose keys are the arguments of a constructor."""

    make: ClassVar[Callable[..., Any]]
    offers: ClassVar[tuple[str, ...]] = ()
    """The arguments that the library supplies."""

    def build(self, where: str, **offered: Any) -> Any:
        keys = [name for name in type(self).model_fields if name in parameters(self.make)]
        arguments = {name: _built(getattr(self, name), f"{where}.{name}", offered) for name in keys}
        taken = {name: value for name, value in offered.items() if name in self.offers}
        with placed(where, {*keys, *self.arguments}, offered):
            return self.make(**taken, **arguments, **self.arguments)

    def require_fit(self, lattice: Lattice, where: str) -> None:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Constructed):
                value.require_fit(lattice, f"{where}.{name}")
        if hasattr(self.make, "require_fit"):
            made = self.build(where)
            with placed(where, type(self).model_fields):
                made.require_fit(lattice)


@contextlib.contextmanager
def placed(where: str, keys: Collection[str], others: Collection[str] = ()) -> Iterator[None]:
    """Put the place in the card before the sentence of an `InputError` from the block.

    The sentence may already begin with one of the `keys` at `where`, or with one of `others`, which stand elsewhere.
    """
    try:
        yield
    except InputError as error:
        said = str(error)
        key = re.match(r"(\w+)[.:]", said)
        if key and key[1] in keys:
            said = f"{where}.{said}"
        elif not key or key[1] not in others:
            said = f"{where}: {said}"
        raise InputError(said) from error


def parameters(make: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a constructor by name."""
    return inspect.signature(make).parameters


def described(make: Callable[..., Any]) -> Mapping[str, str]:
    """The meaning of each argument, from the `Args:` list of a docstring."""
    text = inspect.getdoc(make) or ""
    _, _, block = text.partition("\nArgs:\n")
    found: dict[str, str] = {}
    for line in block.splitlines():
        if not line.startswith("    "):
            break
        if match := re.match(r"    (\w+): (.*)", line):
            found[match[1]] = match[2]
        elif found:
            found[list(found)[-1]] += f" {line.strip()}"
    return found


@functools.cache
def section_of(
    make: Callable[..., Any], offers: tuple[str, ...] = (), given: tuple[tuple[str, str], ...] = ()
) -> type[Constructed]:
    """The section for a constructor.

    Args:
        make: the class, or a function; its parameters are typed.
        offers: the names of the arguments that the library supplies.
        given: keys of the section that name the constructor itself, with their values: (("kind", "dense"),).
    """
    hints = _hints(make.__init__ if isinstance(make, type) else make)
    meaning, fields = described(make), {key: (Literal[value], ...) for key, value in given}
    everything, checkerboard, taken = False, False, []
    for name, parameter in parameters(make).items():
        annotation = hints.get(name, Any)
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            everything |= parameter.kind is inspect.Parameter.VAR_KEYWORD
        elif name in offers:
            taken.append(name)
            checkerboard |= any(isinstance(mark, Checkerboard) for mark in get_args(annotation)[1:])
        elif name.startswith(("_", "model_")) or name in Constructed.__class_vars__ or hasattr(Constructed, name):
            raise InputError(f"the argument {name!r} cannot be a key of a card, which uses this name itself")
        else:
            default = ... if parameter.default is inspect.Parameter.empty else _default(annotation, parameter.default)
            fields[name] = (translated(annotation), Field(default=default, description=meaning.get(name)))
    section = create_model(
        getattr(make, "__name__", "Constructed"),
        __base__=_Open if everything else Constructed,
        __module__=__name__,
        __doc__=inspect.getdoc(make),
        **fields,  # type: ignore[call-overload]
    )
    section.make = staticmethod(make)  # type: ignore[assignment]
    section.offers = offers if everything else tuple(taken)
    section.needs_checkerboard = checkerboard
    if given:
        section.key = given[0][0]
    return section


class _Open(Constructed):
    """The section for a constructor that takes every keyword."""

    model_config = ConfigDict(extra="allow")

    @classmethod
    def known_keys(cls, data: Mapping[str, Any]) -> tuple[str, ...] | None:
        return None


def translated(annotation: Any) -> Any:
    """The type of a key from the type of an argument; types that a card cannot hold are not checked."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        checks = [AfterValidator(Checked(mark)) for mark in inner[1:] if hasattr(mark, "require")]
        return Annotated[translated(inner[0]), *checks] if checks else translated(inner[0])
    if origin in (Union, types.UnionType):
        several = [each for each in inner if each is not types.NoneType]
        if set(several) == {int, str}:
            # A number, or text that stands for one; the bounds of the annotation check the text.
            first: Any = Annotated[Any, BeforeValidator(_whole_or_text)]
        else:
            first = translated(several[0]) if len(several) == 1 else Any
        return first | None if types.NoneType in inner and first is not Any else first
    if origin in (Sequence, list, tuple):
        return list[translated(inner[0])]
    if origin is Literal:
        words: Any = str if all(isinstance(each, str) for each in inner) else Any
        return Annotated[words, AfterValidator(Checked(OneOf(inner)))]
    if annotation in _PLAIN:
        return Annotated[annotation, BeforeValidator(_PLAIN[annotation])]
    if isinstance(annotation, type):
        if annotation in UNIONS:
            return UNIONS[annotation]
        if _is_nested(annotation):
            return section_of(annotation)
    return Any


def _whole_or_text(value: object) -> int | str:
    """A whole number, or text that stands for one, which the bounds of the argument check."""
    return value if isinstance(value, str) else whole(value)


def _is_nested(annotation: Any) -> bool:
    """True if the type of an argument becomes a section: settings in a dataclass."""
    concrete = isinstance(annotation, type) and not inspect.isabstract(annotation)
    return concrete and dataclasses.is_dataclass(annotation)


def _hints(function: Any) -> Mapping[str, Any]:
    """The types of the arguments; `Any` for a type that only a type checker sees."""
    try:
        return get_type_hints(function, include_extras=True)
    except Exception:
        found = {}
        for name, annotation in getattr(function, "__annotations__", {}).items():
            alone = types.SimpleNamespace(__annotations__={name: annotation}, __globals__=function.__globals__)
            try:
                found |= get_type_hints(alone, function.__globals__, include_extras=True)
            except Exception:
                found[name] = Any
        return found


def _default(annotation: Any, value: Any) -> Any:
    """The default of a key from the default of an argument, with objects as sections."""
    if isinstance(value, (tuple, list)):
        (inner,) = get_args(annotation)[:1] or (Any,)
        return [_default(inner, each) for each in value]
    if _is_nested(annotation) and isinstance(value, annotation):
        section = section_of(annotation)
        return section(**{name: _plain(getattr(value, name)) for name in parameters(annotation)})
    return value


def _plain(value: Any) -> Any:
    """An argument in the form that a card has for it."""
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    if _is_nested(type(value)):
        return {name: _plain(getattr(value, name)) for name in parameters(type(value))}
    return value


def _built(value: Any, where: str, offered: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return tuple(_built(each, f"{where}.{position}", offered) for position, each in enumerate(value))
    return value.build(where, **offered) if isinstance(value, Component) else value
