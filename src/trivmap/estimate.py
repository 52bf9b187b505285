"""A number with its error, and its printed form."""

import math
from typing import NamedTuple


class Estimate(NamedTuple):
    """A statistical estimate: `value` with the standard error `error`."""

    value: float
    error: float

    def __repr__(self) -> str:
        return parenthesis(self.value, self.error)

    __str__ = __repr__


def parenthesis(value: float, error: float | None = None) -> str:
    """`value` with its standard error in the usual notation, the error to two significant digits.

    6.50774 with 0.00908 is "6.5077(91)", 123.4 with 1.23 is "123.4(1.2)", 12345 with 678 is "12340(680)". Without an
    error, or with error 0 for an exact number, only the value is given.
    """
    if not math.isfinite(value):
        return str(value)
    if error is None or error == 0:
        return f"{value:.6g}"
    if not math.isfinite(error):
        return f"{value:.3g}({error})"
    # Rounded to two digits first, so that 0.0996 counts as 0.10.
    error = float(f"{abs(error):.1e}")
    decimals = 1 - math.floor(math.log10(error))
    if error >= 10:
        return f"{round(value, decimals):.0f}({error:.0f})"
    if error >= 1:
        return f"{value:.1f}({error:.1f})"
    return f"{value:.{decimals}f}({round(error * 10**decimals)})"
