"""The notations of the phi^4 action in the literature, and conversion between them."""

import inspect
import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Annotated, Any, NamedTuple, SupportsFloat

from trivmap.arguments import Bounds, Coupling
from trivmap.errors import InputError

Coefficients = tuple[float, float, float]
"""(c1, c2, c4)."""
Quartic = Annotated[Coupling, Bounds(least=0, why="exp(-S) would have no integral")]


class Notation(NamedTuple):
    """A map from two couplings to (c1, c2, c4) in d dimensions, and the source."""

    coefficients: Callable[..., Coefficients]
    source: str

    @property
    def couplings(self) -> tuple[str, str]:
        """The names of the couplings, the quartic one last."""
        first, second, _ = inspect.signature(self.coefficients).parameters
        return first, second


def standard(m_sq: Coupling, g: Quartic, dimension: int) -> Coefficients:
    """S = sum_x [1/2 sum_mu (phi(x+mu) - phi(x))^2 + m_sq/2 phi^2 + g/24 phi^4].

    Args:
        m_sq: the bare mass squared, for example -0.4; it may be negative
        g: the coupling of phi^4 / 4!, not negative, for example 2.4
        dimension: d.
    """
    return -1.0, (2 * dimension + m_sq) / 2, g / 24


def albergo2019(m_sq: Coupling, lam: Quartic, dimension: int) -> Coefficients:
    """S = sum_x [sum_mu (phi(x+mu) - phi(x))^2 + m_sq phi^2 + lam phi^4] (arXiv:1904.12072).

    Args:
        m_sq: the bare mass squared, for example -4.0; it may be negative
        lam: the coupling of phi^4, not negative, for example 6.975
        dimension: d.
    """
    return -2.0, 2 * dimension + m_sq, lam


def bosetti2015(beta: Coupling, lam: Quartic, dimension: int) -> Coefficients:
    """S = sum_x [-beta sum_mu phi(x) phi(x+mu) + phi^2 + lam (phi^2 - 1)^2 - lam] (arXiv:1506.08587).

    Args:
        beta: the nearest-neighbor coupling, for example 0.576
        lam: the coupling of (phi^2 - 1)^2, not negative, for example 0.5
        dimension: d.
    """
    return -beta, 1 - 2 * lam, lam


def nicoli2020(kappa: Coupling, lam: Quartic, dimension: int) -> Coefficients:
    """S = sum_x [-2 kappa sum_mu phi(x) phi(x+mu) + (1 - 2 lam) phi^2 + lam phi^4] (arXiv:2007.07115).

    Args:
        kappa: the hopping parameter, for example 0.3
        lam: the coupling of phi^4, not negative, for example 0.022
        dimension: d.
    """
    return -2 * kappa, 1 - 2 * lam, lam


NOTATIONS: Mapping[str, Notation] = {
    "standard": Notation(standard, "textbooks"),
    "albergo2019": Notation(albergo2019, "arXiv:1904.12072"),
    "bosetti2015": Notation(bosetti2015, "arXiv:1506.08587"),
    "nicoli2020": Notation(nicoli2020, "arXiv:2007.07115"),
}
"""The notations of the literature by name: the map from couplings to (c1, c2, c4), and the source."""


def coefficients(notation: str, couplings: Mapping[str, SupportsFloat], dimension: int) -> tuple[float, float, float]:
    """(c1, c2, c4) of S = sum_x [c1 sum_mu phi(x) phi(x+mu) + c2 phi^2 + c4 phi^4].

    Raises `InputError` for an unknown notation, and for couplings that are missing, unknown or not finite, or a
    quartic one that is negative.
    """
    if notation not in NOTATIONS:
        raise InputError(f"notation: {notation!r} is unknown; choose one of {', '.join(NOTATIONS)}")
    names = NOTATIONS[notation].couplings
    for name in names:
        if name not in couplings:
            raise InputError(f"{name}: missing; the notation {notation} needs {' and '.join(names)}")
    couplings = {name: _number(value) for name, value in couplings.items()}
    for name, value in couplings.items():
        if name not in names:
            raise InputError(f"{name}: not a coupling of {notation}, which has {' and '.join(names)}")
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            raise InputError(f"{name}: must be a finite number, got {value}")
    first, second = (float(couplings[name]) for name in names)
    if second < 0:
        raise InputError(f"{names[1]}: must not be negative, got {second:g}; exp(-S) would have no integral")
    return NOTATIONS[notation].coefficients(first, second, dimension)


def _number(value: Any) -> Any:
    """The number in an array without axes; anything else unchanged."""
    return value.item() if getattr(value, "shape", None) == () else value


SMALLEST_GAP = 1e-8
"""Smallest eigenvalue of a quadratic form, in units of |c1|: a smaller one is lost to rounding beside 2 d."""


def smallest_eigenvalue(c1: float, c2: float, dimension: int) -> float:
    """2 (c2 - d |c1|), the smallest eigenvalue of the Hessian of the quadratic part of S, all extents even."""
    return 2 * (c2 - dimension * abs(c1))


def require_integrable(c1: float, c2: float, c4: float, dimension: int) -> None:
    """Raise `InputError` unless the integral of exp(-S) exists: c4 > 0, or c4 = 0 and c2 > d |c1|.

    Without c4, the smallest eigenvalue of the quadratic form must be safe from rounding.
    """
    if not all(math.isfinite(c) for c in (c1, c2, c4)):
        raise InputError(f"couplings must be finite, got c1={c1}, c2={c2}, c4={c4}")
    if c4 < 0:
        raise InputError(
            f"the quartic coupling must not be negative, got c4={c4:g}; exp(-S) has no integral for c4 < 0"
        )
    gap = smallest_eigenvalue(c1, c2, dimension)
    # Half of the limit, for couplings that were converted from another notation at the limit.
    if c4 == 0 and (gap <= 0 or gap < 0.5 * SMALLEST_GAP * abs(c1)):
        raise InputError(
            f"without a quartic term exp(-S) has an integral only if c2 > d |c1|, got 2 (c2 - d |c1|)={gap:g}, "
            f"and at least {SMALLEST_GAP * abs(c1):g} is needed; raise the mass or the quartic coupling"
        )


def convert(
    source: str, target: str, couplings: Mapping[str, SupportsFloat], dimension: int
) -> tuple[dict[str, float], float]:
    """Couplings of the same theory in another notation, and the scale s of phi = s phi'.

    S(phi) = S'(phi'), so a mean of phi^n is s^n times that of phi', and log Z = log Z' + V log s.

    Raises `InputError` if the target cannot express the theory: `standard` and `albergo2019` fix the sign of c1.
    """
    c1, c2, c4 = coefficients(source, couplings, dimension)
    require_integrable(c1, c2, c4, dimension)
    if target in ("standard", "albergo2019"):
        fixed = -1.0 if target == "standard" else -2.0
        if c1 >= 0:
            raise InputError(f"{target} needs a ferromagnetic nearest-neighbor coupling (c1 < 0), got c1={c1:g}")
        square = fixed / c1
        quadratic, quartic = c2 * square, c4 * square**2
        if target == "standard":
            return {"m_sq": 2 * quadratic - 2 * dimension, "g": 24 * quartic}, math.sqrt(square)
        return {"m_sq": quadratic - 2 * dimension, "lam": quartic}, math.sqrt(square)
    if target not in NOTATIONS:
        raise InputError(f"notation: {target!r} is unknown; choose one of {', '.join(NOTATIONS)}")
    # Both remaining notations require c2' = 1 - 2 c4': a quadratic for s^2, whose stable root also covers c4 = 0.
    root = math.hypot(c2, math.sqrt(8 * c4))
    square = 2 / (c2 + root) if c2 > 0 else (root - c2) / (4 * c4)
    first = "beta" if target == "bosetti2015" else "kappa"
    hopping = -c1 * square if target == "bosetti2015" else -c1 * square / 2
    return {first: hopping, "lam": c4 * square**2}, math.sqrt(square)
