"""The tables of docs/reference/run-card.md that follow from the signatures and docstrings of constructors."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any, get_args, get_origin

import yaml

from experiments.keeping import markdown
from trivmap.cards.fields import ByKey, Section
from trivmap.cards.kernels import LIBRARY, LibrarySampling
from trivmap.cards.optimizer import OPTIMIZERS
from trivmap.cards.registry import ACTIONS, BASES, DATA, MAPS, NETWORKS, OBJECTIVES, SCHEDULES
from trivmap.cards.signature import Constructed

HEAD = ["key", "default", "meaning"]


def tables(where: str, several: ByKey) -> str:
    """The tables of all components, and of the sections inside theirs."""
    return "\n".join(table(heading, section) for heading, section in components(where, several))


def components(where: str, several: ByKey) -> Iterator[tuple[str, type[Section]]]:
    """The heading and the section of each component, those inside it next."""
    for name, entry in several.table.items():
        heading = f"{where}, {several.key}: {name}"
        if isinstance(entry, ByKey):
            yield from components(heading, entry)
        else:
            if issubclass(entry, (Constructed, LibrarySampling)):
                yield heading, entry
                yield from inside(name, entry)


def inside(where: str, section: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    """Sections of a component that are no components themselves."""
    for key, field in section.model_fields.items():
        for inner in sections_in(field.annotation):
            if issubclass(inner, Constructed):
                yield f"{where}, {key}", inner
                yield from inside(f"{where}, {key}", inner)


def sections_in(annotation: Any) -> Iterator[type[Section]]:
    """The sections that a key of this type may hold, apart from components, which are told apart by a key."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    elif get_origin(annotation) is not Annotated:
        for inner in get_args(annotation):
            yield from sections_in(inner)


def table(heading: str, section: type[Section]) -> str:
    """A heading, the first sentence of the constructor's docstring, and a line for each key."""
    made = section.made if issubclass(section, LibrarySampling) else section
    assert issubclass(made, Constructed)
    text = " ".join((inspect.getdoc(made.make) or "").split("\n\n")[0].split())
    first = re.match(r".*?\.(?= |$)", text)
    assert first, heading
    rows = [[f"`{key}`", default(field), meaning(key, field)] for key, field in section.model_fields.items()]
    return f"### {heading}\n\n{first[0]}\n\n{markdown(HEAD, rows)}\n"


def default(field: Any) -> str:
    """The cell of a default."""
    if field.is_required():
        return "required"
    if isinstance(field.default, Section):
        return "section"
    written = yaml.safe_dump(plain(field.default), default_flow_style=True, sort_keys=False, width=1000)
    return f"`{written.removesuffix('...' + chr(10)).strip()}`"


def plain(value: Any) -> Any:
    """A default as it stands in a card."""
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return value.model_dump() if isinstance(value, Section) else value


def meaning(key: str, field: Any) -> str:
    """The cell that says what a key means."""
    names = getattr(field.annotation, "__args__", ())
    if field.description is None and len(names) == 1:
        return f"`{names[0]}`"
    assert field.description, key
    return field.description


BLOCKS: Mapping[str, Callable[[], str]] = {
    "card-actions": partial(tables, "action", ACTIONS.by_key),
    "card-bases": partial(tables, "model.base", BASES.by_key),
    "card-maps": partial(tables, "model.maps", MAPS.by_key),
    "card-networks": partial(tables, "network", NETWORKS.by_key),
    "card-objectives": partial(tables, "objective", OBJECTIVES.by_key),
    "card-data": partial(tables, "data", DATA.by_key),
    "card-kernels": partial(tables, "sampling", LIBRARY),
    "card-schedules": partial(tables, "learning_rate", SCHEDULES.by_key),
    "card-second-order": partial(tables, "training.optimizer", OPTIMIZERS),
}
