"""Check that a run fits this machine before hours are spent."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trivmap.cards.card import RunCard


def require_room(
    cards: "Iterable[tuple[RunCard, int | None]]",
    root: Path,
    *,
    force: bool,
    note: Callable[[str], object],
    training: bool = True,
) -> None:
    """Say what runs at `root` will take, each a card and the parameters of its map, and refuse what has no room.

    With `force` the refusal is a note only. Raises `InputError` that names the key to lower.
    """
    from trivmap.errors import InputError
    from trivmap.runs import budget

    budgets = [budget.budget(card, parameters or 0, training=training) for card, parameters in cards]
    note(budget.expected(budgets))
    try:
        budget.require_room(budgets, root)
    except InputError as error:
        if not force:
            raise
        note(f"--force: {str(error).removesuffix(', or give --force to try')}")
