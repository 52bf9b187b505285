"""The section `training.optimizer` of the run card."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import optax
from pydantic import ConfigDict, Field

from trivmap.cards.fields import ByKey, Section
from trivmap.cards.references import resolve
from trivmap.cards.registry import SCHEDULES, build_own
from trivmap.cards.signature import Component, parameters, placed, section_of
from trivmap.cards.values import REFERENCE, at, reference, validation_error
from trivmap.optimizers import FirstOrder, GaussNewton, first_order, optimizer_keywords, optimizer_names

_RATE = "a number, or a section such as {schedule: cosine, peak: 1.0e-3}"


class FirstOrderOptimizer(Component):
    """An optax optimizer by name, or a function `my_module:factory(learning_rate, **arguments)`.

    Further keys are the optimizer's own keyword arguments; those of optax are checked and written out.
    """

    model_config = ConfigDict(extra="allow")

    kind: str = Field(description="gauss-newton, or the name of an optax optimizer, for example adam")
    learning_rate: Annotated[Component, SCHEDULES.by_key] = Field(description=_RATE)

    @classmethod
    def known_keys(cls, data: Mapping[str, Any]) -> tuple[str, ...] | None:
        known = optimizer_keywords(str(data.get("kind")))
        return None if known is None else ("kind", "learning_rate", *known)

    @classmethod
    def _prepared(cls, data: dict[str, Any]) -> dict[str, Any]:
        if ":" in str(data["kind"]):
            at("kind", reference, data["kind"])
        rate = data["learning_rate"]
        if rate is None:
            raise validation_error(cls._missing("learning_rate", data), "learning_rate")
        if not isinstance(rate, (Mapping, Section)):
            data["learning_rate"] = {"schedule": "constant", "peak": rate}
        known = optimizer_keywords(str(data["kind"])) or {}
        written_out = {name: value for name, value in known.items() if isinstance(value, (bool, int, float, str))}
        return data | {name: value for name, value in written_out.items() if name not in data}

    def build(self, where: str, **offered: Any) -> FirstOrder:
        """The optimizer; `offered` has the `steps` of the training and `clip`, the largest norm of the gradient."""
        constant: Any = self.learning_rate
        rate, clip = constant.build(f"{where}.learning_rate", steps=offered["steps"]), offered["clip"]
        if not REFERENCE.fullmatch(self.kind):
            # Some optimizers accept only a number.
            given = constant.peak if constant.schedule == "constant" and not constant.warmup else rate
            with placed(where, {"kind", "learning_rate", *self.arguments}):
                made = first_order(self.kind, given, clip=clip, **self.arguments)
            return dataclasses.replace(made, learning_rate=rate)
        factory = resolve(self.kind, optax.GradientTransformation, f"{where}.kind")
        first = next(iter(parameters(factory)), "learning_rate")
        made = build_own(self.kind, self.arguments, _Transformation(first), where, {first: rate})
        return FirstOrder(made if clip is None else optax.chain(optax.clip_by_global_norm(clip), made), rate)


class _Transformation:
    """The requirements on the user's own optimizer, whose `first` argument is the learning rate."""

    key, makes, called = "kind", optax.GradientTransformation, "GradientTransformation"

    def __init__(self, first: str):
        self.offers = (first,)


_SECOND_ORDER = {"gauss-newton": section_of(GaussNewton, (), (("kind", "gauss-newton"),))}
# lbfgs is not a first-order optimizer: it uses a line search.
_FIRST_ORDER = {name: FirstOrderOptimizer for name in optimizer_names() if name != "lbfgs"}
OPTIMIZERS = ByKey("kind", _SECOND_ORDER | _FIRST_ORDER, own=FirstOrderOptimizer)


def minimizes_by_default(optimizer: object) -> str:
    """The default objective of a card, for its section `optimizer` or for the value that the card gives for it."""
    kind = optimizer.get("kind") if isinstance(optimizer, Mapping) else getattr(optimizer, "kind", None)
    return "variance" if isinstance(kind, str) and kind in _SECOND_ORDER else "path-gradient"
