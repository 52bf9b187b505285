"""First-order optimizers: any of optax, by name."""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import jax
import jax.numpy as jnp
import optax

from trivmap.errors import InputError
from trivmap.optimizers.packing import packed

ENTRY_BY_ENTRY = frozenset(
    {"adabelief", "adadelta", "adagrad", "adam", "adamax", "adamaxw", "adamw", "adan", "amsgrad", "lion", "nadam"}
    | {"nadamw", "radam", "rmsprop", "rprop", "sgd", "sign_sgd", "signum", "yogi"}
)
"""Optimizers that treat every entry alike, and so may see all parameters as one vector."""


def optimizer_names() -> list[str]:
    """The optimizers of the installed optax: its functions with a `learning_rate`, their building blocks apart."""
    names = []
    for name, value in vars(optax).items():
        if callable(value) and not inspect.isclass(value) and not name.startswith(("_", "scale_by_")):
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
    """The optax optimizer called `kind`, after clipping the gradient's global norm to `clip` if given.

    Raises `InputError` for an unknown optimizer or keyword, with the nearest known one, for values with which the
    optimizer cannot take a step, and for a schedule where it takes only a number.
    """
    names = optimizer_names()
    if kind not in names:
        raise InputError(f"optimizer.kind: {kind!r} is not an optimizer of optax{_nearest(kind, names)}")
    make = getattr(optax, kind)
    known = [name for name in inspect.signature(make).parameters if name != "learning_rate"]
    for name in options:
        if name not in known:
            raise InputError(f"optimizer.{name}: {kind} has no such keyword{_nearest(name, known)}")
    if clip is not None and not clip > 0:
        raise InputError(f"clip: must be positive, got {clip}; leave it out to train without clipping")
    if refusal := _refusal(make, learning_rate, options):
        if callable(learning_rate) and _refusal(make, 1.0, options) is None:
            raise InputError(f"optimizer.learning_rate: {kind} takes no schedule; give a number") from refusal
        raise InputError(f"optimizer: {kind} refused its keywords: {refusal}") from refusal
    optimizer = make(learning_rate=learning_rate, **options)
    if clip is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(clip), optimizer)
    if kind in ENTRY_BY_ENTRY and not any("mask" in name for name in options):
        return packed(optimizer)
    return optax.with_extra_args_support(optimizer)


def _refusal(make: Callable, learning_rate: float | Callable, options: dict[str, Any]) -> Exception | None:
    """What is raised by making the optimizer and tracing a step: some look at their arguments no earlier."""

    def step(gradient: Any) -> Any:
        optimizer = optax.with_extra_args_support(make(learning_rate=learning_rate, **options))
        extra = {"value": gradient.sum(), "grad": gradient, "value_fn": lambda x: x.sum()}
        return optimizer.update(gradient, optimizer.init(gradient), gradient, **extra)

    try:
        # optax mixes dtypes in its own arithmetic.
        with jax.numpy_dtype_promotion("standard"):
            jax.eval_shape(step, jax.ShapeDtypeStruct((2,), jnp.float32))
    except Exception as refusal:
        return refusal
    return None


def _nearest(name: str, known: list[str]) -> str:
    matches = get_close_matches(name, known, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else f"; known are {', '.join(known)}"
