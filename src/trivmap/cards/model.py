"""The sections of the run card about the theory and the map: `action` and `model`."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from trivmap.actions import NOTATIONS
from trivmap.cards.continuous import ContinuousMap
from trivmap.cards.fields import ByKey, ByShape, Section
from trivmap.cards.values import (
    LARGEST_COUPLING,
    Count,
    Coupling,
    Flag,
    Positive,
    Reference,
    Whole,
    Width,
    at,
    one_of,
    real,
    refusal,
    require_layers,
    shown,
    suggestion,
    units,
)
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.networks.activations import ACTIVATIONS


class Phi4Action(Section):
    """S = sum_x [c1 sum_mu phi phi + c2 phi^2 + c4 phi^4] in one of the notations; further keys are its couplings."""

    model_config = ConfigDict(extra="allow")

    kind: Literal["phi4"]
    notation: str = Field(description="one of " + ", ".join(NOTATIONS))

    @classmethod
    def known_keys(cls, data: Mapping[str, Any]) -> tuple[str, ...]:
        notation = NOTATIONS.get(str(data.get("notation")))
        return ("kind", "notation", *(notation.couplings if notation else data))

    @classmethod
    def needed_keys(cls, data: Mapping[str, Any]) -> tuple[str, ...]:
        return cls.known_keys(data)

    @classmethod
    def _missing(cls, key: str, data: Mapping[str, Any]) -> str:
        if key in cls.model_fields:
            return super()._missing(key, data)
        return f"missing; the notation {data['notation']} needs {' and '.join(NOTATIONS[data['notation']].couplings)}"

    @classmethod
    def _prepared(cls, data: dict[str, Any]) -> dict[str, Any]:
        if str(data["notation"]) not in NOTATIONS:
            name = data["notation"]
            raise refusal(f"{shown(name)} is unknown; {suggestion(name, NOTATIONS)}", "notation")
        for key in NOTATIONS[data["notation"]].couplings:
            data[key] = at(key, partial(real, most=LARGEST_COUPLING), data[key])
        return data

    @property
    def couplings(self) -> dict[str, float]:
        return self.arguments


class FreeAction(Section):
    """The free scalar of mass squared `m_sq`."""

    kind: Literal["free"]
    m_sq: Coupling = Field(description="the mass squared, for example 0.25")

    @property
    def couplings(self) -> dict[str, float]:
        return {"m_sq": self.m_sq}


class OwnSection(Section):
    """The user's own class, `kind: my_module:MyClass`; every other key is an argument of its constructor."""

    model_config = ConfigDict(extra="allow")

    kind: Reference

    @classmethod
    def known_keys(cls, data: Mapping[str, Any]) -> tuple[str, ...] | None:
        return None


class OwnAction(OwnSection):
    """The user's own action."""

    @property
    def couplings(self) -> dict[str, Any]:
        return self.arguments


Action = Annotated[Phi4Action | FreeAction | OwnAction, ByKey()]


class MassStart(Section):
    """The spectrum 1 / (khat^2 + mass_squared)."""

    mass_squared: Positive = Field(description="the mass squared of the starting spectrum, for example 0.25")


class GaussianBase(Section):
    """Independent normal sites; with `learnable` their common width is trained."""

    kind: Literal["gaussian"]
    learnable: Flag = True


class FreeFieldBase(Section):
    """The free field with one variance per momentum orbit, started at the best Gaussian (`hartree`) or at a mass."""

    kind: Literal["free-field"]
    spectrum: Literal["fixed", "learnable"] = "learnable"
    start: Annotated[Literal["hartree"] | MassStart, ByShape()] = "hartree"


class OwnBase(OwnSection):
    """The user's own base."""


Base = Annotated[GaussianBase | FreeFieldBase | OwnBase, ByKey()]

_LARGEST_KERNEL = 63
_MOST_TAPS = 2**16
_MOST_BINS = 4096
"""A spline's search and its network's outputs grow with them."""

Hidden = Annotated[list[Width], Field(description="the widths of the hidden layers, for example [8, 8] or [1.0V]")]


Activation = Annotated[str, one_of(ACTIVATIONS)]


class DenseNetwork(Section):
    """Every frozen site feeds every parameter; `units(volume)` gives the widths."""

    kind: Literal["dense"]
    hidden: Hidden
    activation: Activation = "tanh"

    def units(self, volume: int) -> list[int]:
        return units(self.hidden, volume)


class ConvolutionalNetwork(Section):
    """Periodic convolutions; `units(volume)` gives the numbers of channels."""

    kind: Literal["conv"]
    hidden: Hidden
    activation: Activation = "tanh"
    kernel: Count = 3

    def units(self, volume: int) -> list[int]:
        return units(self.hidden, volume)

    @model_validator(mode="after")
    def _centered(self) -> "ConvolutionalNetwork":
        if self.kernel % 2 == 0:
            raise refusal(f"must be odd so that the kernel has a center, got {self.kernel}", "kernel")
        if self.kernel > _LARGEST_KERNEL:
            raise refusal(
                f"must be at most {_LARGEST_KERNEL}, as its taps are written out, got {self.kernel}", "kernel"
            )
        return self


Network = Annotated[DenseNetwork | ConvolutionalNetwork, ByKey()]

_COUPLINGS = Field(description="the number of couplings, for example 8")
_NETWORK = Field(description="a section such as {kind: conv, hidden: [8, 8]}")


class CouplingMap(Section):
    """`couplings` checkerboard couplings, the active color alternating, each with a network of its own."""

    kind: Literal["additive", "affine"]
    couplings: Count = _COUPLINGS
    z2: Flag = True
    network: Network = _NETWORK


class SplineMap(Section):
    """Couplings by monotone rational-quadratic splines of `bins` bins on [-interval, interval]."""

    kind: Literal["spline"]
    couplings: Count = _COUPLINGS
    z2: Flag = True
    network: Network = _NETWORK
    bins: Annotated[Whole, Field(ge=2, le=_MOST_BINS)] = 8
    interval: Positive = 5.0


class RescaleMap(Section):
    """Multiplication by one positive learnable number."""

    kind: Literal["rescale"]


class FourierMap(Section):
    """One learnable factor per momentum orbit."""

    kind: Literal["fourier"]
    start: Annotated[Literal["identity"] | MassStart, ByShape()] = "identity"


class ZeroModeMap(Section):
    """A monotone spline of the magnetization."""

    kind: Literal["zero-mode"]
    bins: Annotated[Whole, Field(ge=2, le=_MOST_BINS)] = 16
    interval: Positive = 3.0
    z2: Flag = True


class OwnMap(OwnSection):
    """The user's own bijection."""


Map = Annotated[CouplingMap | SplineMap | ContinuousMap | RescaleMap | FourierMap | ZeroModeMap | OwnMap, ByKey()]


class Model(Section):
    """The flow: a base and the maps in the order the field passes through them.

    `sites: even` makes it a flow of the even sites of the checkerboard; the odd ones are integrated out exactly in the
    action, and drawn exactly given the even ones. It needs the free-field base and continuous maps.
    """

    sites: Literal["all", "even"] = "all"

    base: Base = Field(description="a section such as {kind: free-field}")
    maps: list[Map] = Field(description="the list of maps, for example [{kind: rescale}]")

    @model_validator(mode="after")
    def _of_finite_depth(self) -> "Model":
        layers = (part.couplings if isinstance(part, (CouplingMap, SplineMap)) else 1 for part in self.maps)
        require_layers(layers, "maps")
        return self

    def require_fit(self, lattice: Lattice) -> None:
        """Refuse a part whose tables or weights would outgrow this lattice, seen before anything is built."""
        for position, part in enumerate(self.maps):
            where = f"model.maps.{position}"
            if isinstance(part, ContinuousMap):
                part.kernel.require_fit(lattice, f"{where}.kernel")
            elif isinstance(part, (CouplingMap, SplineMap)):
                network = part.network
                try:
                    network.units(lattice.volume)
                except InputError as error:
                    raise refusal(str(error).removeprefix("network.hidden: "), f"{where}.network.hidden") from error
                if isinstance(network, ConvolutionalNetwork) and network.kernel**lattice.dimension > _MOST_TAPS:
                    raise refusal(
                        f"has {network.kernel}^{lattice.dimension} taps in {lattice.dimension} dimensions; at most "
                        f"{_MOST_TAPS}, all are written out",
                        f"{where}.network.kernel",
                    )

    @property
    def needs_checkerboard(self) -> bool:
        return self.sites == "even" or any(isinstance(part, (CouplingMap, SplineMap)) for part in self.maps)
