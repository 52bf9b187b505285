"""The definitions that datasets carry with them: what is in each, and the names of its dimensions."""

from collections.abc import Mapping
from typing import Any

from trivmap.observables.catalog import CATALOG
from trivmap.observables.observable import Mean

_OF = {
    "accepted": "whether the step was accepted",
    "fields": "the configuration of the chain, every `thin` steps",
}


def definitions(names_and_dimensions: Mapping[str, int], attributes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The attributes `definition` and `dimensions` of each dataset of samples, by its name.

    Args:
        names_and_dimensions: the names of the datasets, each with its number of dimensions.
        attributes: those of the samples, with `history` and `lattice`.
    """
    step = "proposal" if attributes.get("history") == "proposals" else "step"
    sites = len(attributes.get("lattice", ()))
    found = {}
    known = _OF | {"log_weight": definition_of_weights(str(attributes.get("kind")))}
    for name, count in names_and_dimensions.items():
        measurement = name.removeprefix("observables/")
        inner = field_dimensions(count - 2, sites) if name == "fields" else _axes(measurement, count - 2)
        text = known.get(name) or f"{_measured(measurement)} of the field of each {step}"
        found[name] = {"definition": text, "dimensions": ["chain", "kept step" if name == "fields" else step, *inner]}
    return found


def definition_of_weights(kind: str) -> str:
    """The definition of the log-weights that a kind of sampling gives."""
    weight = "log w = -S - log q" if kind == "flow" else "log w, E[w f] being the integral of f exp(-S),"
    return f"{weight} of each proposal; the mean of w over independent proposals is Z"


def field_dimensions(count: int, sites: int) -> list[str]:
    """The names of the dimensions of a field: its components, if it has several, and then the directions."""
    return [*["component"] * (count - sites), *(f"x{number}" for number in range(1, min(count, sites) + 1))]


def _axes(name: str, count: int) -> list[str]:
    known = next((each.axes for each in CATALOG.values() if isinstance(each, Mean) and each.stored == name), ())
    return list(known) if len(known) == count else [f"axis {number}" for number in range(1, count + 1)]


def _measured(name: str) -> str:
    """The measurement in words."""
    means = {each.name: each for each in CATALOG.values() if isinstance(each, Mean) and each.stored == name}
    symbol = means[name].symbol if name in means else ""
    return f"{name}, whose mean is {symbol}," if symbol else name
