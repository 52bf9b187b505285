"""The kinds of the section `sampling`, including kernels from the registry and kernels of the user's own."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, Field, create_model

from trivmap.cards.fields import ByKey
from trivmap.cards.registry import KERNELS
from trivmap.cards.sampling import (
    AnnealedSampling,
    ClusterSampling,
    FlowSampling,
    HmcSampling,
    Sampling,
    Start,
    TrivializedSampling,
    begins,
)
from trivmap.cards.signature import Constructed
from trivmap.cards.values import Real, Reference


class KernelSampling(Sampling):
    """A kernel of one chain, with the arguments of its constructor.

    `warmup` steps come first and are not measured (null: a tenth, at most 1000); independent proposals count them among
    `proposals`. The warm-up tunes the `step_size` of a kernel that has one to `target_acceptance` (null: it stays as it
    is). `start` says where chains begin.
    """

    start: Start = Field(
        default="hot", description="where chains begin: `hot`, `cold`, `mixed`, or at {configurations: ...}"
    )
    target_acceptance: Annotated[Real, Field(gt=0, lt=1)] | None = Field(
        default=None, description="acceptance to which the warm-up tunes the `step_size`; null: it stays as it is"
    )

    @property
    def own_settings(self) -> dict[str, Any]:
        # Stored as one text: an argument may have the same name as another attribute of the samples.
        settings = begins(self.model_dump()["start"]) | {"target_acceptance": self.target_acceptance}
        given = {"arguments": json.dumps(self.arguments, sort_keys=True)} if self.arguments else {}
        return {name: value for name, value in settings.items() if value is not None} | given


class OwnSampling(KernelSampling):
    """A kernel of your own, `kind: my_module:MyKernel`; every further key is an argument of its constructor."""

    model_config = ConfigDict(extra="allow")

    kind: Reference

    @classmethod
    def known_keys(cls, data: Mapping[str, Any]) -> tuple[str, ...] | None:
        return None


class LibrarySampling(KernelSampling):
    """A kernel of the registry: the arguments of its constructor are keys, beside the keys of every kernel."""

    made: ClassVar[type[Constructed]]
    """The section of the kernel's own arguments."""

    @property
    def arguments(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in self.made.model_fields if key != "kind"}

    def kernel(self, **offered: Any) -> Any:
        """The kernel, made with those of the `offered` arguments that its constructor takes."""
        return self.made.model_validate({"kind": self.kind, **self.arguments}).build("sampling", **offered)


def _section_of(made: Any) -> type[LibrarySampling]:
    """The section `sampling` for a kernel of the registry."""
    fields: Any = {key: Annotated[field.annotation, field] for key, field in made.model_fields.items()}
    section: Any = create_model(
        f"{made.__name__}Sampling",
        __base__=LibrarySampling,
        __module__=__name__,
        __doc__=made.__doc__,
        **fields,
    )
    section.made, section.needs_model = made, "flow" in made.offers
    return section


LIBRARY = ByKey("kind", {name: _section_of(made) for name, made in KERNELS.by_key.table.items()})
"""The sections of the kernels of the registry."""


def samples_without_flow(section: object) -> bool:
    """True if a section with these values does not use a map; a value that is not a section is refused elsewhere."""
    if not isinstance(section, Mapping):
        return False
    of_library: Any = LIBRARY.section(section)
    if of_library is not None:
        return not of_library.needs_model
    return section.get("kind") in ("hmc", "cluster") or section.get("moves") == "heat-bath"


def _kind_written_out(value: Any) -> Any:
    """The section with its kind; if it names none, it samples with the flow."""
    return {"kind": "flow", **value} if isinstance(value, dict) and "kind" not in value else value


KINDS = ByKey(
    "kind",
    {
        "flow": FlowSampling,
        "hmc": HmcSampling,
        "trivialized-hmc": TrivializedSampling,
        "cluster": ClusterSampling,
        "annealed": AnnealedSampling,
        **LIBRARY.table,
    },
    OwnSampling,
)
AnySampling = Annotated[Sampling, KINDS, BeforeValidator(_kind_written_out)]
