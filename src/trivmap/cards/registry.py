"""The components that a card may name: one line each, its name and its constructor.

The section of a component follows from the signature of its constructor, see `cards.signature`; a class of the user's
own, `my_module:MyClass`, is treated in the same way once it may be imported.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, PlainSerializer, ValidationError, create_model

from trivmap.actions import NOTATIONS, XY, AbstractAction, FreeScalar, Phi4
from trivmap.bases import AbstractBase, FreeField, Gaussian
from trivmap.bijections import (
    AbstractArchitecture,
    AbstractBijection,
    Continuous,
    ConvolutionalNetwork,
    DenseNetwork,
    FourierDiagonal,
    Rescale,
    ZeroMode,
    additive,
    affine,
    spline,
)
from trivmap.cards.errors import sentence
from trivmap.cards.fields import ByKey
from trivmap.cards.references import resolve
from trivmap.cards.signature import UNIONS, Component, Constructed, section_of
from trivmap.cards.values import Reference
from trivmap.errors import InputError
from trivmap.objectives import (
    AbstractObjective,
    ForwardKL,
    LogVariance,
    Mixture,
    PathGradient,
    ReverseKL,
    Variance,
)
from trivmap.samplers import AbstractKernel, Langevin
from trivmap.training.data import AbstractData, Walkers, stored
from trivmap.training.schedules import Schedule, constant_rate, cosine_rate, restarts_rate


class OwnSection(Component):
    """Code of the user's own, `my_module:MyClass`; every other key is an argument of its constructor."""

    model_config = ConfigDict(extra="allow")

    makes: ClassVar[Any]
    called: ClassVar[str]
    offers: ClassVar[tuple[str, ...]]

    @classmethod
    def known_keys(cls, data: Mapping[str, Any]) -> tuple[str, ...] | None:
        return None

    def build(self, where: str, **offered: Any) -> Any:
        return build_own(self.named, self.arguments, self, where, offered)


def build_own(reference: str, arguments: Mapping[str, Any], kind: Any, where: str, offered: Mapping[str, Any]) -> Any:
    """An object of the user's own class, of type `kind`. The card's keys are checked against its signature."""
    named = f"{where}.{kind.key}"
    factory = resolve(reference, kind.makes, named, kind.called)
    try:
        section = section_of(factory, kind.offers).model_validate(dict(arguments))
    except InputError as error:
        raise InputError(f"{named}: {reference}: {error}") from error
    except ValidationError as error:
        raise InputError(f"{where}.{sentence(error, arguments)}") from error
    try:
        made = section.build(where, **offered)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{where}: {reference} refused its arguments: {said[:300]}") from error
    if isinstance(kind.makes, type) and not isinstance(made, kind.makes):
        raise InputError(f"{named}: {reference} must make {_article(kind)} {kind.called}, got {type(made).__name__}")
    return made


def _article(kind: Any) -> str:
    return "an optax" if kind.makes.__module__.startswith("optax") else "a trivmap"


class Registry:
    """The components of one kind.

    Args:
        makes: the class of the objects, or their type.
        entries: the constructor for each name, or a mapping of further names, distinguished by a second key.
        offers: the arguments that the library supplies if a constructor takes them.
        key: the key that names the component.
        second: the second key.
        called: the name of the type in sentences, if it is not a class.
    """

    def __init__(
        self,
        makes: Any,
        entries: Mapping[str, Callable[..., Any] | Mapping[str, Callable[..., Any]]],
        *,
        offers: tuple[str, ...] = (),
        key: str = "kind",
        second: str = "",
        called: str = "",
    ):
        def section(make: Any, *given: tuple[str, str]) -> type[Constructed] | ByKey:
            if isinstance(make, Mapping):
                return ByKey(second, {name: section(each, *given, (second, name)) for name, each in make.items()})
            return section_of(make, offers, given)

        user: Any = create_model("Own", __base__=OwnSection, __module__=__name__, **{key: (Reference, ...)})  # type: ignore[call-overload]
        user.key, user.makes, user.called = key, makes, called or makes.__name__
        user.offers = offers
        self.by_key = ByKey(key, {name: section(make, (key, name)) for name, make in entries.items()}, user)
        self.union = Annotated[Component, self.by_key]
        if isinstance(makes, type):
            UNIONS[makes] = self.union


def _phi4(notation: str) -> Callable[..., Phi4]:
    @functools.wraps(NOTATIONS[notation].coefficients)
    def make(**arguments: Any) -> Phi4:
        return Phi4.from_couplings(notation, **arguments)

    return make


ACTIONS = Registry(
    AbstractAction,
    {"phi4": {notation: _phi4(notation) for notation in NOTATIONS}, "free": FreeScalar, "xy": XY},
    second="notation",
    offers=("dimension", "lattice"),
)
BASES = Registry(
    AbstractBase,
    {"gaussian": Gaussian, "free-field": FreeField.untrained},
    offers=("lattice", "action", "temperature", "dtype"),
)
NETWORKS = Registry(AbstractArchitecture, {"dense": DenseNetwork, "conv": ConvolutionalNetwork})
MAPS = Registry(
    AbstractBijection,
    {
        "additive": additive,
        "affine": affine,
        "spline": spline,
        "continuous": Continuous,
        "rescale": Rescale,
        "fourier": FourierDiagonal,
        "zero-mode": ZeroMode,
    },
    offers=("lattice", "even", "dtype", "key"),
)
OBJECTIVES = Registry(
    AbstractObjective,
    {
        "path-gradient": PathGradient,
        "reverse-kl": ReverseKL,
        "variance": Variance,
        "log-variance": LogVariance,
        "forward-kl": ForwardKL,
        "mixture": Mixture,
    },
)
KERNELS = Registry(AbstractKernel, {"langevin": Langevin}, offers=("action", "lattice", "dtype", "flow"))
DATA = Registry(AbstractData, {"run": stored, "walkers": Walkers})
SCHEDULES = Registry(
    Schedule,
    {"constant": constant_rate, "cosine": cosine_rate, "restarts": restarts_rate},
    key="schedule",
    offers=("steps",),
    called="Schedule",
)


def written_out(value: Any) -> Any:
    """The section of a component; a name alone becomes a section."""
    return {"kind": value} if isinstance(value, str) else value


def shortened(section: Any) -> Any:
    """The name alone for a component without settings, otherwise its section."""
    data = section.model_dump(mode="json")
    return data["kind"] if len(data) == 1 else data


Objective = Annotated[Component, OBJECTIVES.by_key, BeforeValidator(written_out), PlainSerializer(shortened)]
"""A name, or a section."""
