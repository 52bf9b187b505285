"""Every key of a run card, with its allowed words if these are known, collected from the schema.

`keys.txt` beside this file keeps them for tab completion, which must not import the slow schema.
`python -m trivmap.cards.keys` prints its content.
"""

import sys
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from trivmap.arguments import OneOf
from trivmap.cards.card import RunCard
from trivmap.cards.fields import ByKey, Section
from trivmap.cards.optimizer import OPTIMIZERS, FirstOrderOptimizer
from trivmap.cards.registry import written_out
from trivmap.cards.values import Checked, flag
from trivmap.optimizers import optimizer_keywords


def key_lines() -> list[str]:
    """A line for each dotted key, followed by its words; 0 stands for every position in a list."""
    found: dict[str, list[str]] = {}
    for key, word in _keys(RunCard, "", frozenset()):
        words = found.setdefault(key, [])
        if word is not None and word not in words:
            words.append(word)
    return [" ".join((key, *words)) for key, words in found.items()]


def _keys(section: type[Section], where: str, above: frozenset[type[Section]]) -> Iterator[tuple[str, str | None]]:
    """Keys below `where` with each of their words; a section that contains itself is entered once."""
    if section in above:
        return
    for name, field in section.model_fields.items():
        key = f"{where}{field.alias or name}"
        yield key, None
        yield from _values(field.annotation, tuple(field.metadata), key, above | {section})
    if section is FirstOrderOptimizer:
        for kind in OPTIMIZERS.table:
            for name in optimizer_keywords(kind) or ():
                yield f"{where}{name}", None


def _values(
    annotation: Any, marks: tuple[Any, ...], key: str, above: frozenset[type[Section]]
) -> Iterator[tuple[str, str | None]]:
    """The words that a value of this type may be, and the keys inside it."""
    marks = (*marks, *getattr(annotation, "__metadata__", ()))
    checks = [getattr(mark, "func", None) for mark in marks]
    known = [check.mark.names for check in checks if isinstance(check, Checked) and isinstance(check.mark, OneOf)]
    yield from ((key, str(word)) for names in known for word in names if word is not None)
    several = next((mark for mark in marks if isinstance(mark, ByKey)), None)
    if several is not None:
        # A component without settings may be given by its name alone.
        alone = any(getattr(mark, "func", None) is written_out for mark in marks)
        yield from ((key, name) for name in several.table if alone)
        yield from _choices(several, key, above)
    elif any(getattr(mark, "func", None) is flag for mark in marks):
        yield from ((key, word) for word in ("true", "false"))
    elif get_origin(annotation) is Literal:
        yield from ((key, str(word)) for word in get_args(annotation))
    elif isinstance(annotation, type) and issubclass(annotation, Section):
        yield from _keys(annotation, f"{key}.", above)
    else:
        inside = f"{key}.0" if get_origin(annotation) is list else key
        for inner in get_args(annotation):
            yield from _values(inner, (), inside, above)


def _choices(several: ByKey, key: str, above: frozenset[type[Section]]) -> Iterator[tuple[str, str | None]]:
    telling = f"{key}.{several.key}"
    for name, entry in several.table.items():
        yield telling, name
        if isinstance(entry, ByKey):
            yield from _choices(entry, key, above)
        else:
            yield from _keys(entry, f"{key}.", above)


if __name__ == "__main__":
    sys.stdout.write("\n".join(key_lines()) + "\n")
