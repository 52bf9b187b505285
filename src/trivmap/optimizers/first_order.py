"""First-order optimizers: any of optax, by name."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, PyTree

from trivmap.errors import InputError, suggestion
from trivmap.optimizers.optimizer import AbstractOptimizer, Problem, Taken
from trivmap.optimizers.packing import Vectors, pack, packed, unpack

ENTRY_BY_ENTRY = frozenset(
    {"adabelief", "adadelta", "adagrad", "adam", "adamax", "adamaxw", "adamw", "adan", "amsgrad", "lion", "nadam"}
    | {"nadamw", "radam", "rmsprop", "rprop", "sgd", "sign_sgd", "signum", "yogi"}
)
"""Optimizers that treat every entry alike, and so can work on all parameters as one vector."""


def optimizer_names() -> list[str]:
    """The optimizers of the installed optax: its functions with a `learning_rate`, without their building blocks."""
    return [name for name in sorted(vars(optax)) if optimizer_keywords(name) is not None]


def optimizer_keywords(kind: str) -> dict[str, Any] | None:
    """Keywords of optax's optimizer `kind` with their defaults, without `learning_rate`; None if there is none."""
    make = vars(optax).get(kind)
    if not callable(make) or inspect.isclass(make) or kind.startswith(("_", "scale_by_")):
        return None
    try:
        parameters = inspect.signature(make).parameters
    except (TypeError, ValueError):
        return None
    if "learning_rate" not in parameters:
        return None
    return {name: parameter.default for name, parameter in parameters.items() if name != "learning_rate"}


@dataclass(frozen=True)
class FirstOrder(AbstractOptimizer):
    """Steps along the gradient of the objective, made by an optax transformation.

    Args:
        transformation: turns the gradient into the step.
        learning_rate: the learning rate of each step, for the log: a number, or a schedule.
    """

    transformation: optax.GradientTransformation
    learning_rate: float | Callable = float("nan")

    @property
    def _transformation(self) -> optax.GradientTransformationExtraArgs:
        return optax.with_extra_args_support(self.transformation)

    def begin(self, parameters: PyTree, batch: int, least_squares: str | None) -> PyTree:
        return self._transformation.init(parameters)

    def rehearse(self, parameters: PyTree, batch: int, least_squares: str | None) -> PyTree:
        extra = {"value": jnp.zeros(()), "grad": parameters, "value_fn": lambda _: jnp.zeros(())}
        return self._transformation.update(
            parameters, self.begin(parameters, batch, least_squares), parameters, **extra
        )

    def advance(self, problem: Problem, parameters: Vectors, state: PyTree) -> tuple[Vectors, PyTree, Taken]:
        draws = _drawn_once(problem.draw, problem.failed)
        tree = unpack(parameters, problem.form)
        (value, monitored), gradient = jax.value_and_grad(problem.surrogate, has_aux=True)(tree, draws)
        loss = jnp.mean(monitored).astype(jnp.float32)
        norm = optax.tree.norm(pack(gradient)).astype(jnp.float32)
        # The median: a single configuration in a heavy tail is not a divergence.
        typical = jnp.median(monitored).astype(jnp.float32)
        good = jnp.isfinite(loss) & jnp.isfinite(norm) & ~problem.diverged(typical) & ~problem.failed

        def take() -> tuple[Vectors, PyTree]:
            updates, moved = self._transformation.update(
                gradient,
                state,
                tree,
                value=value.astype(jnp.float32),
                grad=gradient,
                value_fn=lambda tree: problem.surrogate(tree, draws)[0].astype(jnp.float32),
            )
            return optax.apply_updates(parameters, pack(updates)), moved

        # A branch instead of a selection, so that a good step updates everything in place.
        parameters, state = jax.lax.cond(good, take, lambda: (parameters, state))
        rate = self.learning_rate(problem.step) if callable(self.learning_rate) else self.learning_rate
        return parameters, state, Taken(monitored, norm, rate, jnp.nan, ~good)


def first_order(kind: str, learning_rate: float | Callable, *, clip: float | None = None, **options: Any) -> FirstOrder:
    """The optax optimizer called `kind`.

    Args:
        kind: its name in optax.
        learning_rate: a number, or a function of the step.
        clip: the largest global norm of the gradient, if it is clipped first.
        options: its keyword arguments.

    Raises `InputError` for an unknown optimizer or keyword, with the nearest known one, for values with which the
    optimizer cannot take a step, and for a schedule if it only accepts a number.
    """
    known = optimizer_keywords(kind)
    if known is None:
        raise InputError(f"kind: {kind!r} is not an optimizer of optax; {suggestion(kind, optimizer_names())}")
    make = getattr(optax, kind)
    for name in options:
        if name not in known:
            raise InputError(f"{name}: {kind} has no such keyword; {suggestion(name, known)}")
    if clip is not None and not clip > 0:
        raise InputError(f"clip: must be positive, got {clip}; leave it out to train without clipping")
    if refusal := _refusal(make, learning_rate, options):
        if callable(learning_rate) and _refusal(make, 1.0, options) is None:
            raise InputError(f"learning_rate: {kind} takes no schedule; give a number") from refusal
        raise InputError(f"{kind} refused its keywords: {refusal}") from refusal
    optimizer = make(learning_rate=learning_rate, **options)
    if clip is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(clip), optimizer)
    if kind in ENTRY_BY_ENTRY and not any("mask" in name for name in options):
        optimizer = packed(optimizer)
    return FirstOrder(optax.with_extra_args_support(optimizer), learning_rate)


def _drawn_once(draw: Callable[[], PyTree], skip: Bool[Array, ""]) -> PyTree:
    """`draw()`, or zeros if it is skipped.

    The branch keeps XLA from fusing the draw into every use of the noise, which would compute it again in each.
    """
    form = jax.eval_shape(draw)
    return jax.lax.cond(skip, lambda: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), form), draw)


def _refusal(make: Callable, learning_rate: float | Callable, options: dict[str, Any]) -> Exception | None:
    """The exception from making the optimizer and tracing a step: some check their arguments only then."""

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
