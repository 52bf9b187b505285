"""The reasons why numbers must not be printed as results."""

import math
from collections.abc import Mapping
from typing import Any


def reason_against(name: str, entry: Mapping[str, Any] | float | None, summary: Mapping[str, Any]) -> str | None:
    """The reason why the number called `name` cannot be trusted, or None if nothing speaks against it.

    `entry` is its {value, error} (or plain number) in `summary.json`. The verdict of the measurement
    (`summary["untrusted"]`, reasons by name) comes first, then values that are missing or not finite.
    """
    reason = (summary.get("untrusted") or {}).get(name)
    if reason:
        return str(reason)
    if entry is None:
        return "not measured"
    value, error = (entry.get("value"), entry.get("error")) if isinstance(entry, Mapping) else (entry, 0.0)
    if value is None or not math.isfinite(value):
        return "the value is not finite"
    if error is None or not math.isfinite(error):
        return "the error could not be determined"
    return None
