"""First-order optimisers: any of optax, by name."""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import optax

from trivmap.errors import InputError

# Functions of optax that take a learning rate but are not optimisers of a gradient alone.
_NOT_OPTIMISERS = {"scale_by_learning_rate", "GradientTransformation"}


def optimiser_names() -> list[str]:
    """The optimisers of the installed optax: its functions with a `learning_rate`."""
    names = []
    for name, value in vars(optax).items():
        if callable(value) and not inspect.isclass(value) and not name.startswith("_") and name not in _NOT_OPTIMISERS:
            try:
                parameters = inspect.signature(value).parameters
            except (TypeError, ValueError):
                continue
            if "learning_rate" in parameters:
                names.append(name)
    return sorted(names)


def first_order(
    kind: str, learning_rate: float | Callable, *, clip: float | None = None, **options: Any
) -> optax.GradientTransformationExtraArgs:
    """The optax optimiser called `kind`, after clipping the gradient's global norm to `clip` if given.

    Raises `InputError` for an unknown optimiser or keyword, with the nearest known one.
    """
    names = optimiser_names()
    if kind not in names:
        raise InputError(f"optimiser.kind: {kind!r} is not an optimiser of optax{_nearest(kind, names)}")
    make = getattr(optax, kind)
    known = [name for name in inspect.signature(make).parameters if name != "learning_rate"]
    for name in options:
        if name not in known:
            raise InputError(f"optimiser.{name}: {kind} has no such keyword{_nearest(name, known)}")
    if clip is not None and not clip > 0:
        raise InputError(f"clip: must be positive, got {clip}; leave it out to train without clipping")
    try:
        optimiser = make(learning_rate=learning_rate, **options)
    except (TypeError, ValueError) as error:
        raise InputError(f"optimiser: {kind} refused its keywords: {error}") from error
    if clip is not None:
        optimiser = optax.chain(optax.clip_by_global_norm(clip), optimiser)
    return optax.with_extra_args_support(optimiser)


def _nearest(name: str, known: list[str]) -> str:
    matches = get_close_matches(name, known, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else f"; known are {', '.join(known)}"
