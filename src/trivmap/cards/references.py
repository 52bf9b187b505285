"""`my_module:Name`: the user's own code, imported but called only if it makes the requested type."""

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from trivmap.cards.values import REFERENCE
from trivmap.errors import InputError, shown


def resolve(reference: str, kind: Any, where: str, called: str = "") -> Callable[..., Any]:
    """The class or function behind `module:Name`, imported but not called.

    Raises `InputError` unless it is a subclass of `kind`, or a function annotated to return one; `called` is the name
    of that type if it is not a class.
    """
    factory, called = load(reference, where), called or kind.__name__
    if not _makes(factory, kind):
        subclass = f"a subclass of {kind.__module__.split('.')[0]}'s {called} or " if isinstance(kind, type) else ""
        raise InputError(
            f"{where}: {reference} is not called; it must be {subclass}a function annotated to return one (-> {called})"
        )
    return factory


def _makes(factory: Any, kind: Any) -> bool:
    if isinstance(factory, type):
        return isinstance(kind, type) and issubclass(factory, kind)
    if not inspect.isfunction(factory):
        return False
    returned = factory.__annotations__.get("return")
    if isinstance(returned, str):
        # With `from __future__ import annotations` this is a name, which is looked up and not evaluated.
        first, *rest = returned.split(".")
        returned = functools.reduce(
            lambda found, name: getattr(found, name, None), rest, factory.__globals__.get(first)
        )
    if not isinstance(kind, type):
        return returned == kind
    return isinstance(returned, type) and issubclass(returned, kind)


def load(reference: str, where: str) -> Any:
    """The object that `module:Name` names; its module is imported, which runs it."""
    if not REFERENCE.fullmatch(reference):
        raise InputError(f"{where}: must be a reference like my_module:MyClass, got {shown(reference)}")
    module_name, _, name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(
            f"{where}: cannot import {module_name!r} ({error}); run where Python finds it, or set PYTHONPATH"
        ) from error
    except Exception as error:
        kind = type(error).__name__
        raise InputError(f"{where}: {module_name!r} fails while it is imported: {kind}: {error}") from error
    if not hasattr(module, name):
        raise InputError(f"{where}: the module {module_name!r} has no {name!r}")
    return getattr(module, name)
