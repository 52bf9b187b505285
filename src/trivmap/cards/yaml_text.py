"""YAML as run cards use it, read only here, with limits that no card reaches and without the traps of YAML 1.1.

1e-3 is a number, a date is text, a key given twice is an error, and 010 and 1:30, which YAML 1.1 reads as 8 and 90,
are refused. Every error is one sentence that names file and line.
"""

import re
from collections.abc import Hashable
from typing import Any, ClassVar

import yaml

from trivmap.errors import InputError

LARGEST_TEXT = 1_000_000
"""Most characters of a card, and most bytes of its file."""
_MOST_VALUES = 20_000
"""Most keys and values of a card; aliases count at every use, since nine lines may stand for 9^9 values."""
_DEEPEST = 64
"""Largest depth of nested sections."""
_LONGEST_NUMBER = 400
"""Most digits of a number; Python itself refuses to read thousands."""

_TAG = "tag:yaml.org,2002:"
_FLOAT = re.compile(
    r"""[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?
    |[0-9]+[eE][-+]?[0-9]+
    |\.(?:inf|Inf|INF))\Z|\.(?:nan|NaN|NAN)\Z""",
    re.VERBOSE,
)
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)\Z")
_OCTAL = re.compile(r"[-+]?0[0-7_]+\Z")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z")
_DIGITS = list("-+0123456789.")


def _resolvers(dates: bool) -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """PyYAML's table of the types of unquoted text by first character, with the number formats of this module.

    `dates` is for writing: text that another reader would read as a date gets quotes.
    """
    replaced = {f"{_TAG}int", f"{_TAG}float", *([] if dates else [f"{_TAG}timestamp", f"{_TAG}value"])}
    kept = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in replaced]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for first in _DIGITS:
        own = [("octal", _OCTAL), ("sexagesimal", _SEXAGESIMAL), ("int", _INTEGER), ("float", _FLOAT)]
        kept[first] = [(_TAG + name, pattern) for name, pattern in own] + kept.get(first, [])
    return kept


class _CardLoader(yaml.SafeLoader):
    """The safe loader with this module's number formats and limits, and without repeated keys."""

    yaml_implicit_resolvers: ClassVar = _resolvers(dates=False)

    def __init__(self, text: str):
        super().__init__(text)
        self._depth = self._values = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _refused(f"sections are nested more than {_DEEPEST} deep", event.start_mark)
        before = self._values
        node: Any = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent):
            # A node without a size is not complete yet, so the alias refers to a node that contains it.
            if id(node) not in self._sizes:
                raise _refused(f"*{event.anchor} refers to a value that contains it", event.start_mark)
            self._values += self._sizes[id(node)]
        else:
            self._values += 1
            self._sizes[id(node)] = self._values - before
        if self._values > _MOST_VALUES:
            raise _refused(f"a card has at most {_MOST_VALUES} values, aliases written out", event.start_mark)
        self._depth -= 1
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception as error:
            # PyYAML's constructors check nothing: `!!bool maybe` is a KeyError, `!!int abc` a ValueError.
            kind, text = node.tag.removeprefix(_TAG), repr(node.value[:40]) if isinstance(node.value, str) else "this"
            raise _refused(f"{text} cannot be read as {kind}", node.start_mark) from error

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        # `!!map [1]` is not a mapping; PyYAML's own constructor reports it.
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and is_torn(key):
                raise _refused(f"key {key[:40]!r} has half of a surrogate pair", key_node.start_mark)
            if key is not None and key in seen and key != "<<":
                raise _refused(f"key {key[:40]!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def _octal(self, node: Any) -> Any:
        text = str(self.construct_scalar(node))
        decimal = text.replace("_", "").lstrip("-+").lstrip("0") or "0"
        raise _refused(
            f"{text[:40]} begins with 0, which makes it an octal number in YAML; write {decimal[:40]}, or put "
            "text in quotes",
            node.start_mark,
        )

    def _sexagesimal(self, node: Any) -> Any:
        text = str(self.construct_scalar(node))
        raise _refused(
            f"{text[:40]} is a number in base 60 in YAML; write it as one number, or put text in quotes",
            node.start_mark,
        )

    def _number(self, node: Any) -> Any:
        if (digits := len(str(self.construct_scalar(node)))) > _LONGEST_NUMBER:
            raise _refused(f"a number of {digits} digits is too long", node.start_mark)
        if node.tag == f"{_TAG}int":
            return self.construct_yaml_int(node)
        return self.construct_yaml_float(node)


_CardLoader.add_constructor(f"{_TAG}octal", _CardLoader._octal)
_CardLoader.add_constructor(f"{_TAG}sexagesimal", _CardLoader._sexagesimal)
_CardLoader.add_constructor(f"{_TAG}int", _CardLoader._number)
_CardLoader.add_constructor(f"{_TAG}float", _CardLoader._number)


class _CardDumper(yaml.SafeDumper):
    """The safe dumper, which quotes text that the loader would read as a number."""

    yaml_implicit_resolvers: ClassVar = _resolvers(dates=True)


def is_torn(text: str) -> bool:
    """True if a text has halves of surrogate pairs, which no file and no terminal can show."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _refused(problem: str, mark: Any) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, mark)


def parse(text: str, source: str) -> Any:
    """The value of a YAML text; raises `InputError` with `source`, line and column if it is not YAML.

    Also raises it if the text is longer or more deeply nested, or has more values, than any card.
    """
    if len(text) > LARGEST_TEXT:
        raise InputError(f"{source}: has more than {LARGEST_TEXT} characters, which no card needs")
    loader: Any = None
    try:
        loader = _CardLoader(text)
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source
        problem = str(error.problem or error.context)
        raise InputError(f"{where}: not valid YAML: {problem[:300]}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{source}: not valid YAML: {' '.join(str(error).split())[:300]}") from error
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        # PyYAML's scanner does not check these: "\\U00110000" is not a character, and %YAML may have any number.
        mark = loader.get_mark()
        where = f"{source}, line {mark.line + 1}, column {mark.column + 1}"
        raise InputError(f"{where}: not valid YAML: this text cannot be read ({str(error)[:100]})") from error


def dump(data: Any) -> str:
    """YAML of plain data in its order; a section that fits on one line is written on one line."""
    return yaml.dump(data, Dumper=_CardDumper, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)
