"""The line in the plane of couplings along which `tune` searches."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trivmap.actions import Phi4
from trivmap.actions.notations import NOTATIONS, coefficients
from trivmap.errors import InputError

_SMALLEST_HOPPING, _LARGEST_HOPPING = 0.002, 20.0
"""Ends of the search in the hopping parameter beta of arXiv:1506.08587, in units of 1/d."""
_LARGEST_MASS_SQUARED = 1e5
"""End of the search in m^2: at the largest one the correlation length is below a tenth of a site."""
_CLOSE_TO_CRITICAL = 1e-4


@dataclass(frozen=True)
class CouplingLine:
    """phi^4 in one notation at a fixed quartic coupling, along the other coupling.

    The position t on the line is that coupling, with the sign with which the correlation length grows with t: beta
    and kappa as they are, -m^2.

    Args:
        notation: one of `actions.notations.NOTATIONS`.
        quartic: the quartic coupling.
        dimension: d.

    Raises:
        InputError: for an unknown notation, and a quartic coupling that is negative or not finite.
    """

    notation: str
    quartic: float
    dimension: int

    def __post_init__(self) -> None:
        if self.notation not in NOTATIONS:
            raise InputError(f"notation: {self.notation!r} is unknown; choose one of {', '.join(NOTATIONS)}")
        self._coefficients(0.0)

    @property
    def name(self) -> str:
        """The coupling that varies."""
        return NOTATIONS[self.notation].couplings[0]

    @property
    def quartic_name(self) -> str:
        return NOTATIONS[self.notation].couplings[1]

    @property
    def sign(self) -> int:
        """The coupling in units of t: -1 for m^2, which multiplies phi^2, else 1."""
        return -1 if self._slope[1] else 1

    def couplings(self, t: float) -> dict[str, float]:
        """Both couplings by name."""
        return {self.name: self.sign * t, self.quartic_name: self.quartic}

    def action(self, t: float) -> Phi4:
        return Phi4.from_couplings(self.notation, self.dimension, **self.couplings(t))

    def energy(self, observables: Mapping[str, np.ndarray], volume: int) -> np.ndarray:
        """-dS/dt of configurations, extensive, from their measurements."""
        hopping, square = self._slope
        if square:
            return -self.sign * square * observables["phi2"] * volume
        return observables["ising_energy"] * (-self.sign * hopping * self.dimension * volume)

    @property
    def start(self) -> tuple[float, float]:
        """Where to begin the search."""
        if self.sign < 0:
            return -4.0, 0.0
        unit = self._unit
        return 0.5 * unit, 1.2 * unit

    @property
    def reach(self) -> tuple[float, float]:
        """The ends of the search. Without a quartic term the integral exists only for m^2 > 0, beta < 1/d."""
        if self.sign < 0:
            return -_LARGEST_MASS_SQUARED, _LARGEST_MASS_SQUARED if self.quartic > 0 else -_CLOSE_TO_CRITICAL
        unit = self._unit
        highest = _LARGEST_HOPPING * unit if self.quartic > 0 else unit * (1 - _CLOSE_TO_CRITICAL)
        return _SMALLEST_HOPPING * unit, highest

    def below(self, low: float, high: float) -> float:
        """A position farther down than a bracket, as far as the search reaches."""
        return max(self.reach[0], low / 2 if self.sign > 0 else low - 2 * (high - low))

    def above(self, low: float, high: float) -> float:
        """A position farther up than a bracket, as far as the search reaches."""
        return min(self.reach[1], 1.5 * high if self.sign > 0 else high + 2 * (high - low))

    def _coefficients(self, x: float) -> tuple[float, float, float]:
        return coefficients(self.notation, {self.name: x, self.quartic_name: self.quartic}, self.dimension)

    @property
    def _slope(self) -> tuple[float, float]:
        """Derivatives of c1 and c2 with respect to the coupling, in which both are linear."""
        (c1, c2, _), (d1, d2, _) = self._coefficients(0.0), self._coefficients(1.0)
        return d1 - c1, d2 - c2

    @property
    def _unit(self) -> float:
        """The hopping parameter that equals beta = 1/d of arXiv:1506.08587."""
        return -1 / (self.dimension * self._slope[0])
