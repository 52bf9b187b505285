"""The pages of the Python interface: one for each public package, from its `__init__` and from the docstrings.

The docstrings are written for a terminal, with `code` in single backticks. Here they become reStructuredText: names of
the interface become links, everything else that reStructuredText would take for markup is escaped.
"""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from links import linked
from sphinx.util import logging

PACKAGES = (
    *("actions", "spaces", "bases", "bijections", "networks", "objectives", "optimizers", "training"),
    *("samplers", "simulation", "observables", "diagnostics", "runs", "reports"),
)
FOLDER = Path(__file__).resolve().parents[1] / "reference" / "api"
LOG = logging.getLogger(__name__)


class Public(NamedTuple):
    """A public name: where it is imported from, where it is defined, and the object."""

    package: str
    name: str
    module: str
    value: object

    @property
    def directive(self) -> str:
        kind = "class" if isinstance(self.value, type) else "function" if inspect.isroutine(self.value) else "data"
        module = self.module if kind == "data" else self.package
        return f"auto{kind}:: {module}.{self.name}"


def public(package: str) -> list[Public]:
    """The public names of a package, in the order of its `__init__`."""
    found = importlib.import_module(package)
    names = []
    for node in _statements(ast.parse(inspect.getsource(found))):
        if isinstance(node, ast.ImportFrom):
            names += [(each.asname, node.module) for each in node.names if each.asname]
        elif isinstance(node, ast.FunctionDef):
            names.append((node.name, package))
    return [Public(package, name, module, getattr(found, name)) for name, module in names if not name.startswith("_")]


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements of a module, those that only type checkers see included."""
    for node in tree.body:
        yield from node.body if isinstance(node, ast.If) else [node]


def everything() -> dict[str, list[Public]]:
    """The public names of every package."""
    return {package: public(package) for package in ("trivmap", *(f"trivmap.{name}" for name in PACKAGES))}


def page(package: str, names: list[Public]) -> str:
    """The page of a package, in Markdown."""
    head, _, rest = (inspect.getdoc(importlib.import_module(package)) or "").partition("\n\n")
    parts = [f"# {package}\n", head.rstrip("."), "", rest, ""]
    for each in names:
        parts += ["```{eval-rst}", f".. {each.directive}"]
        parts += ["   :members:", "   :show-inheritance:"] if isinstance(each.value, type) else []
        parts += ["```", ""]
    return "\n".join(parts)


def write_pages(app) -> None:
    """Write the pages anew where they changed."""
    FOLDER.mkdir(exist_ok=True)
    for package, names in everything().items():
        target, text = FOLDER / f"{package}.md", page(package, names)
        if not target.exists() or target.read_text() != text:
            target.write_text(text)


LINKS = {}


def links() -> dict[str, str]:
    """The full name of each public name and of each `package.name`."""
    if not LINKS:
        for package, names in reversed(everything().items()):
            for each in names:
                full = (
                    f"{each.module}.{each.name}" if each.directive.startswith("autodata") else f"{package}.{each.name}"
                )
                LINKS[each.name] = LINKS[f"{package.rpartition('.')[2]}.{each.name}"] = full
    return LINKS


def _text(text: str) -> str:
    return re.sub(r"(?<=\w)_(?!\w)", r"\\_", re.sub(r"([\\*|])", r"\\\1", text))


def _code(span: str) -> str:
    name = span[1:-1]
    # A bare small name may also be that of a method or of an argument.
    named = name in links() and not name.islower()
    return f":py:obj:`{name} <{links()[name]}>`" if named or ("." in name and name in links()) else f"`{span}`"


def converted(line: str) -> str:
    """A line of a docstring as reStructuredText."""
    if line.lstrip().startswith((">>>", "...")):
        return line
    parts = re.split(r"(`[^`]+`)", line)
    return linked(
        "".join(_code(part) if place % 2 else _text(part) for place, part in enumerate(parts)), markdown=False
    )


_VALUES = ("data", "property", "attribute")
_aside: dict[str, list[str]] = {}


def process(app, what, name, found, options, lines) -> None:
    """Convert a docstring; a public name without one is a warning, with which the build fails."""
    if what == "data" and lines == (inspect.getdoc(type(found)) or "").splitlines():
        lines[:] = []
    if not any(lines) and what != "attribute":
        LOG.warning("%s %s has no docstring", what, name)
    lines[:] = [converted(line) for line in lines]
    if what in _VALUES:
        # Napoleon would take what stands before a colon for a type.
        _aside[name], lines[:] = list(lines), []


def restore(app, what, name, found, options, lines) -> None:
    """Give back the docstring that Napoleon was not to see."""
    if what in _VALUES:
        lines[:] = _aside.pop(name)


_PRNG_KEY = "Key[Array, ''] | UInt32[Array, '2'] | UInt32[Array, '4']"


def shorten_types(app, *_) -> None:
    """Arrays under their public name, and a key for random numbers under that of jaxtyping."""
    for types in app.env.current_document.autodoc_annotations.values():
        for name, said in types.items():
            types[name] = said.replace("jaxlib._jax.Array", "Array").replace(_PRNG_KEY, "PRNGKeyArray")


def setup(app):
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", process, priority=400)
    app.connect("autodoc-process-docstring", restore, priority=600)
    app.connect("object-description-transform", shorten_types, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
