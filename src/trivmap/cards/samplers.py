"""The kinds of the section `sampling`."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from trivmap.cards.fields import ByKey
from trivmap.cards.kernels import LIBRARY, OwnSampling
from trivmap.cards.sampling import (
    AnnealedSampling,
    ClusterSampling,
    FlowSampling,
    HmcSampling,
    Sampling,
    TrivializedSampling,
)


def samples_without_flow(section: object) -> bool:
    """True if a section of these values has no use for a map; what is no section is refused elsewhere."""
    if not isinstance(section, Mapping):
        return False
    of_library: Any = LIBRARY.section(section)
    if of_library is not None:
        return not of_library.takes_flow()
    return section.get("kind") in ("hmc", "cluster") or section.get("moves") == "heat-bath"


def _kind_written_out(value: Any) -> Any:
    """A section that names no kind samples by the flow."""
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
