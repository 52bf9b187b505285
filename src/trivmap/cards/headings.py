"""The texts by which a card describes itself, after overrides have changed the card."""

from collections.abc import Mapping
from typing import Any

TEXTS = ("description", "reference", "deviations")
_CHANGED = "changed from "


def true_headings(
    before: Mapping[str, Any], after: dict[str, Any], label: str, said_of: tuple[str, ...]
) -> dict[str, Any]:
    """The data after overrides, without texts that speak of the card before them.

    If one of the sections `said_of` differs, the texts that no override has given are dropped, and the description
    names the sections that were changed.
    """
    changed = [section for section in said_of if before.get(section) != after.get(section)]
    stale = [text for text in TEXTS if after.get(text) is not None and after.get(text) == before.get(text)]
    if not changed or not stale:
        return after
    found = after | dict.fromkeys(stale)
    if "description" in stale or after.get("description") is None:
        found["description"] = f"{_CHANGED}{before.get('name') or label}: {', '.join(changed)}"
    return found


def heading(name: str | None, description: str | None) -> str:
    """The title of a card: its name, unless overrides made it of another card, whose name that is."""
    return description if description and description.startswith(_CHANGED) else name or ""
