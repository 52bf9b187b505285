"""The section `model` of the run card: the flow."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trivmap.cards.fields import Section
from trivmap.cards.registry import BASES, MAPS
from trivmap.cards.signature import Component, Constructed
from trivmap.cards.values import require_layers
from trivmap.lattice import Lattice


class Model(Section):
    """The flow: a base and the maps in the order the field passes through them.

    `sites: even` makes it a flow of the even sites of the checkerboard; the odd ones are integrated out exactly in the
    action, and drawn exactly given the even ones. It needs the free-field base and continuous maps.
    """

    sites: Literal["all", "even"] = "all"

    base: Annotated[Component, BASES.by_key] = Field(description="a section such as {kind: free-field}")
    maps: list[Annotated[Component, MAPS.by_key]] = Field(description="the list of maps, for example [{kind: rescale}]")

    @model_validator(mode="after")
    def _of_finite_depth(self) -> "Model":
        built_in = (part for part in self.maps if isinstance(part, Constructed))
        require_layers((getattr(part, "couplings", 1) for part in built_in), "maps")
        return self

    def require_fit(self, lattice: Lattice) -> None:
        """Refuse a part whose tables or weights would outgrow this lattice, seen before anything is built."""
        self.base.require_fit(lattice, "model.base")
        for position, part in enumerate(self.maps):
            part.require_fit(lattice, f"model.maps.{position}")

    @property
    def needs_checkerboard(self) -> bool:
        built_in = [part for part in (self.base, *self.maps) if isinstance(part, Constructed)]
        return self.sites == "even" or any(part.needs_checkerboard for part in built_in)
