"""A number with its error."""

from typing import NamedTuple


class Estimate(NamedTuple):
    """A statistical estimate: `value` with the standard error `error`."""

    value: float
    error: float
