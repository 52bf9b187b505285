"""Check that a run fits this machine before hours are spent."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trivmap.runs.plan import Plan


def require_room(
    plans: "Iterable[Plan]",
    root: Path,
    *,
    force: bool,
    note: Callable[[str], object],
    training: bool = True,
) -> float | None:
    """Report what runs at `root` will take, and refuse runs for which memory or disk is too small.

    Returns the estimated seconds of all runs in sequence, None if there is no estimate.

    With `force` the refusal becomes a note. Otherwise raises an `InputError` that names the key to lower.
    """
    from trivmap.errors import InputError
    from trivmap.reports.formats import roughly
    from trivmap.runs import budget
    from trivmap.runs.duration import seconds

    plans = list(plans)
    budgets = [budget.budget(plan, training=training) for plan in plans]
    said = budget.expected(budgets)
    try:
        budget.require_room(budgets, root)
    except InputError as error:
        note(said)
        if not force:
            raise
        note(f"--force: {str(error).removesuffix(', or give --force to try')}")
        # Runs that exceed the memory are not traced.
        return None
    if not training:
        # Tracing takes a second, and the step shows its own progress.
        note(said)
        return None
    times = [seconds(plan, training=training) for plan in plans]
    total = None if None in times else math.fsum(filter(None, times))
    note(said if total is None else f"{said}; about {roughly(total)} of computing, compilation not included")
    return total
