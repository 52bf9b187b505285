"""Old names in cards, from before the first release: the present names, and where the old ones are still used."""

from collections.abc import Collection
from typing import Any

_NOW = {
    "spectrum": "learnable",
    "start": "mass_squared",
    "optimiser": "optimizer",
    "neighbours": "neighbors",
    "follows": "reference",
    "deviates": "deviations",
}
"""Old keys and their present names."""

_MOVED = {"objective": ("damping", "training.objective")}
"""Keys that have moved, each with a key that stood beside it."""


def renamed(key: str, known: Collection[str]) -> str | None:
    """The second half of a sentence about an old key of a section whose keys are `known`."""
    if _NOW.get(key) in known:
        return f"it is called {_NOW[key]} now"
    beside, there = _MOVED.get(key, ("", ""))
    return f"it is {there} now" if beside in known else None


_SPELT = {"neighbors": "neighbours", "trivialized-hmc": "trivialised-hmc"}


def in_streams(data: Any) -> Any:
    """Facts of a card under the names with which they first entered the random streams.

    A change of name therefore does not change the random numbers.
    """
    if isinstance(data, str):
        return _SPELT.get(data, data)
    if isinstance(data, list):
        return [in_streams(each) for each in data]
    if not isinstance(data, dict):
        return data
    found = {_SPELT.get(key, key): in_streams(value) for key, value in data.items()}
    if found.get("kind") in ("free-field", "fourier") and "mass_squared" in found:
        found["start"] = {"mass_squared": found.pop("mass_squared")}
    if found.get("kind") == "free-field" and "learnable" in found:
        found["spectrum"] = "learnable" if found.pop("learnable") else "fixed"
    return found
