"""The section of the run card about the continuous flow."""

from typing import Annotated, Literal

from pydantic import Field

from trivmap.bijections.features import FAMILIES, Filter
from trivmap.bijections.integrators import SCHEMES
from trivmap.cards.fields import Section
from trivmap.cards.values import Count, Flag, Index, Positive, Real, one_of, refusal
from trivmap.lattice import Lattice

_MOST_FUNCTIONS = 2**12
_LARGEST_TABLE = 2**28


class SmearedScale(Section):
    """Features of the field smeared by the filter m^2 / (khat^2 + m^2), of mass m."""

    mass: Positive = Field(description="the mass of the filter, for example 1.0")
    widths: list[Positive] = Field(description="the list of widths, for example [1.0, 2.0]")


class FeatureList(Section):
    """Odd functions h(w phi) / w: of the field, of the mean over its neighbors, of smeared fields.

    With `linear` the field itself is one more.
    """

    family: Annotated[str, one_of(FAMILIES)] = "tanh"
    widths: list[Positive] = Field(default=[1.0, 2.0, 4.0])
    neighbors: list[Positive] = Field(default=[])
    smeared: list[SmearedScale] = Field(
        default=[SmearedScale(mass=1.0, widths=[1.0, 2.0]), SmearedScale(mass=0.5, widths=[1.5, 3.0])]
    )
    linear: Flag = True

    @property
    def scales(self) -> list[tuple[Filter, list[float]]]:
        """As `bijections.Features` takes them."""
        mean: list[tuple[Filter, list[float]]] = [("neighbors", self.neighbors)] if self.neighbors else []
        return [(None, self.widths), *mean, *((scale.mass, scale.widths) for scale in self.smeared)]


class KernelBasis(Section):
    """Displacements up to `radius` along each axis (null: the whole lattice), and tails of these masses."""

    radius: Index | None = 1
    masses: list[Positive] = Field(default=[0.25, 0.5, 1.0, 2.0, 4.0])

    def require_fit(self, lattice: Lattice, where: str) -> None:
        """Refuse a basis whose table of spectra, functions times momenta, would not fit."""
        functions = lattice.orbit_count(self.radius) + len(self.masses)
        if functions > _MOST_FUNCTIONS or functions * lattice.volume > _LARGEST_TABLE:
            raise refusal(
                f"stands for {functions} functions on {lattice.volume} sites, more than their table of spectra has "
                "room for; choose a smaller radius, masses reach as far",
                f"{where}.radius",
            )


class ContinuousMap(Section):
    """The continuous equivariant flow: `times` cosines of the time, integrated in `steps` steps while it is trained."""

    kind: Literal["continuous"]
    features: FeatureList = FeatureList()
    kernel: KernelBasis = KernelBasis()
    times: Count = 3
    steps: Count = 6
    scheme: Annotated[str, one_of(SCHEMES)] = "rk4"
    smoothness: Annotated[Real, Field(ge=0)] = 1e-3
