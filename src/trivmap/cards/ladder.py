"""The ladder of a run card: smaller lattices or weaker couplings that are trained first, each as its own card."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trivmap.actions import AbstractAction
from trivmap.bases.approach import approach
from trivmap.cards.optimizer import minimizes_by_default
from trivmap.cards.signature import Component, Constructed
from trivmap.cards.training import draws_data
from trivmap.lattice import Lattice

_DISORDERED = {"beta": lambda beta: 0.0, "kappa": lambda kappa: 0.0, "m_sq": lambda m_sq: m_sq + 8.0}
"""Couplings that lead from the disordered to the ordered phase, and the value at which the ladder begins."""
_OF_RUNGS = ("steps", "batch", "objective", "data", "optimizer")
_STEPS = 2 / 3
"""Steps on a rung, as a fraction of those on the card's own action."""


def rung_data(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The card data of every rung, in order, from the data of the whole card; none without a ladder.

    A rung trains the card's model at its own lattice and couplings. It is evaluated only at its end, never annealed.
    """
    training = data.get("training") or {}
    cards = []
    for rung in training.get("ladder") or []:
        changed = {key: rung[key] for key in _OF_RUNGS if rung.get(key) is not None}
        kinds = {minimizes_by_default(each.get("optimizer")) for each in (training, {**training, **changed})}
        if len(kinds) > 1:
            # The objective depends on the kind of optimizer.
            changed = {"objective": None, **changed}
        if not draws_data({**training, **changed}["objective"]):
            changed = {"data": None, **changed}
        own: dict[str, Any] = {**training, **changed, "ladder": [], "stop": {}, "temperature": {}}
        judged = {**(training.get("evaluate") or {}), "every": own["steps"]}
        own |= {"evaluate": judged, "chunk": None}
        action = {**data["action"], **(rung.get("action") or {})}
        cards.append({**data, "lattice": rung["lattice"], "action": action, "training": own})
    return cards


def ladder_mismatch(lattice: Sequence[int], rung: Sequence[int]) -> str | None:
    """The reason why a rung does not lead to the lattice, None if it does."""
    if len(rung) != len(lattice):
        return f"{list(rung)} has another dimension than the lattice {list(lattice)}"
    if any(small > large for small, large in zip(rung, lattice, strict=True)):
        return f"{list(rung)} is larger than the lattice {list(lattice)}"
    return None


def led_there(action: Component, lattice: Lattice, steps: int) -> list[dict[str, Any]]:
    """The rungs of `ladder: auto`: the card's lattice at weaker couplings; none if training needs none.

    See `bases.approach`. An action of the user's own has none, since nothing is known of its phases.
    """
    names = [name for name in _DISORDERED if isinstance(action, Constructed) and name in type(action).model_fields]
    if not names:
        return []
    (name,) = names
    there = getattr(action, name)
    start = _DISORDERED[name](there)

    def coupling(s: float) -> float:
        return float(f"{start + s * (there - start):.6g}")

    def action_at(s: float) -> AbstractAction:
        changed = action.model_copy(update={name: there if s == 1 else coupling(s)})
        return changed.build("action", dimension=lattice.dimension, lattice=lattice)

    found = [coupling(s) for s in approach(lattice, action_at)]
    rung = {"lattice": list(lattice.shape), "steps": math.ceil(_STEPS * steps)}
    return [{**rung, "action": {name: value}} for value in found]
