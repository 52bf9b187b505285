"""The ladder of a run card: smaller lattices that are trained first, each as a card of its own."""

from collections.abc import Mapping, Sequence
from typing import Any


def rung_data(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The data of the card of every rung, in order, from that of the whole card; no ladder, no rungs.

    A rung trains the card's model at its own lattice and couplings; it is judged at its end only, and never annealed.
    """
    training = data.get("training") or {}
    cards = []
    for rung in training.get("ladder") or []:
        changed = {key: rung[key] for key in ("steps", "batch", "objective", "optimizer") if rung.get(key) is not None}
        # An objective belongs to its optimizer.
        changed = {"objective": None, **changed} if "optimizer" in changed else changed
        own: dict[str, Any] = {**training, **changed, "ladder": [], "stop": {}, "temperature": {}}
        judged = {**(training.get("evaluate") or {}), "every": own["steps"]}
        own |= {"evaluate": judged, "chunk": None}
        action = {**data["action"], **(rung.get("action") or {})}
        cards.append({**data, "lattice": rung["lattice"], "action": action, "training": own})
    return cards


def misfit(lattice: Sequence[int], rung: Sequence[int]) -> str | None:
    """Why a rung does not lead to the lattice, None if it does."""
    if len(rung) != len(lattice):
        return f"{list(rung)} has another dimension than the lattice {list(lattice)}"
    if any(small > large for small, large in zip(rung, lattice, strict=True)):
        return f"{list(rung)} is larger than the lattice {list(lattice)}"
    return None
