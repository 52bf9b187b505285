"""The section `training.optimizer` of the run card."""

import inspect
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, get_args

from pydantic import ConfigDict, Field

from trivmap.cards.fields import Section
from trivmap.cards.registry import SCHEDULES
from trivmap.cards.signature import Component
from trivmap.cards.values import REFERENCE, at, real, refusal, whole
from trivmap.errors import InputError, shown, suggestion
from trivmap.optimizers import GaussNewton
from trivmap.optimizers.gauss_newton import Objective, Space

_RATE = "a number, or a section such as {schedule: cosine, peak: 1.0e-3}"


def optax_parameters(kind: str) -> dict[str, Any] | None:
    """Keyword arguments of an optax optimizer with their defaults, `learning_rate` left out; None if there is none.

    `lbfgs` is no first-order optimizer (it searches along lines) and is not counted.
    """
    import optax

    factory = getattr(optax, kind, None)
    if kind.startswith(("_", "scale_by")) or not kind.islower() or kind == "lbfgs" or not callable(factory):
        return None
    parameters = inspect.signature(factory).parameters
    if "learning_rate" not in parameters:
        return None
    return {name: parameter.default for name, parameter in parameters.items() if name != "learning_rate"}


def optax_optimizers() -> list[str]:
    """Names of the optax optimizers a card may use."""
    import optax

    return [name for name in dir(optax) if optax_parameters(name) is not None]


SECOND_ORDER = "gauss-newton"
CHOICES = {"objective": get_args(Objective), "space": get_args(Space)}
"""Settings of Gauss-Newton that are words."""


class Optimizer(Section):
    """An optax optimizer by name, `gauss-newton`, or a function `my_module:factory(learning_rate, **arguments)`.

    Further keys are the optimizer's own keyword arguments; they are checked and written out. Gauss-Newton has no
    learning rate.
    """

    model_config = ConfigDict(extra="allow")

    kind: str = Field(description="gauss-newton, or the name of an optax optimizer, for example adam")
    learning_rate: Annotated[Component, SCHEDULES.by_key] | None = Field(default=None, description=_RATE)

    @classmethod
    def known_keys(cls, data: Mapping[str, Any]) -> tuple[str, ...] | None:
        if data.get("kind") == SECOND_ORDER:
            return ("kind", "learning_rate", *asdict(GaussNewton()))
        parameters = optax_parameters(str(data.get("kind")))
        return None if parameters is None else ("kind", "learning_rate", *parameters)

    @classmethod
    def _prepared(cls, data: dict[str, Any]) -> dict[str, Any]:
        kind = data["kind"]
        if kind == SECOND_ORDER:
            if data.get("learning_rate") is not None:
                raise refusal("gauss-newton has none; leave it out, or choose damping", "learning_rate")
            return _checked_gauss_newton(data)
        if data.get("learning_rate") is None:
            raise refusal(f"missing; give {_RATE}", "learning_rate")
        rate = data["learning_rate"]
        if not isinstance(rate, (Mapping, Section)):
            data["learning_rate"] = {"schedule": "constant", "peak": rate}
        if isinstance(kind, str) and REFERENCE.fullmatch(kind):
            return data
        parameters = optax_parameters(str(kind))
        if parameters is None:
            names = optax_optimizers()
            raise refusal(f"{shown(kind)} is no first-order optimizer of optax; {suggestion(kind, names)}", "kind")
        written_out = {name: value for name, value in parameters.items() if isinstance(value, (bool, int, float, str))}
        return data | {name: value for name, value in written_out.items() if name not in data}


def _checked_gauss_newton(data: dict[str, Any]) -> dict[str, Any]:
    """The section with every setting written out, each of the type that its default has."""
    settings = asdict(GaussNewton())
    for name, default in settings.items():
        given = data.get(name, default)
        if given is None and default is None:
            settings[name] = given
        elif name in CHOICES:
            if given not in CHOICES[name]:
                raise refusal(f"{shown(given)} is unknown; {suggestion(given, CHOICES[name])}", name)
            settings[name] = given
        else:
            settings[name] = at(name, real if isinstance(default, float) else whole, given)
    try:
        GaussNewton(**settings)
    except InputError as error:
        raise refusal(str(error).removeprefix("optimizer.")) from error
    return {"kind": SECOND_ORDER, "learning_rate": None, **settings}
