"""The user's own code that a card names, `my_module:MyClass`: when it may run, and which of its names may be called.

Importing a module runs it. A card or a run directory from somebody else therefore runs none of its code before the
user has declared that it is trusted, and only names that are known to make the requested type are called.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from trivmap.cards.card import RunCard
from trivmap.cards.references import load
from trivmap.errors import InputError
from trivmap.trust import is_trusting

if TYPE_CHECKING:
    from trivmap.observables import Observable

_NAMING = ("kind", "schedule", "objective")
"""Keys whose value names a component."""


def own_code(*cards: RunCard) -> list[str]:
    """The references `module:name` in cards, each once."""
    return list(dict.fromkeys(name for card in cards for name in _references(card.to_data())))


def _references(data: Any) -> Iterable[str]:
    if isinstance(data, Mapping):
        named = [data.get(key) for key in _NAMING]
        observables = data.get("observables")
        for name in (*named, *(observables if isinstance(observables, list) else ())):
            if isinstance(name, str) and ":" in name:
                yield name
    for each in data.values() if isinstance(data, Mapping) else data if isinstance(data, list) else ():
        yield from _references(each)


def require_trust(source: object, *cards: RunCard) -> None:
    """Raise `InputError` if cards name code of their own that the user has not declared trusted."""
    names = own_code(*cards)
    if names and not is_trusting():
        raise InputError(f"{source}: {untrusted(names)}")


def untrusted(names: Iterable[str]) -> str:
    """The second half of a sentence that explains why code is not run, and how to run it."""
    return (
        f"names code that would run in this process, {', '.join(names)}; if you trust it, add --trust "
        "(in Python trust=True)"
    )


def observables(card: RunCard) -> "tuple[Observable, ...]":
    """The user's own observables that a card names; nothing is called.

    Raises `InputError` if a name is not that of an `Observable` or of a list of them.
    """
    from trivmap.observables.observable import Observable

    found: list[Observable] = []
    for position, reference in enumerate(card.measure.observables):
        where = f"measure.observables.{position}"
        named = load(reference, where)
        several = list(named) if isinstance(named, (list, tuple)) else [named]
        if not several or not all(isinstance(each, Observable) for each in several):
            raise InputError(
                f"{where}: {reference} must be an observable such as trivmap.observables.Mean(name=..., measure=...), "
                "or a list of them"
            )
        found += several
    return tuple(found)
