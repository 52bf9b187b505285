"""The outcome of the search for a coupling."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from trivmap.errors import InputError
from trivmap.estimate import Estimate
from trivmap.studies.coupling_line import CouplingLine


class Simulation(NamedTuple):
    """One simulation: its coupling, its cycles in all chains, and its own xi."""

    coupling: float
    cycles: int
    correlation_length: Estimate


@dataclass(frozen=True)
class Tuning:
    """The outcome: the `coupling` with its standard error, and xi there (the wanted value) with its error.

    error(coupling) = error(xi) / |d xi / d coupling|. `slope`: d log xi / d coupling. `line` has the notation, the name
    of the coupling and the quartic coupling.
    """

    lattice: tuple[int, ...]
    line: CouplingLine
    ratio: float
    coupling: Estimate
    correlation_length: Estimate
    slope: float
    simulations: list[Simulation] = field(default_factory=list)

    @property
    def action(self) -> dict[str, Any]:
        """The section `action` of a card."""
        couplings = {self.line.name: self.coupling.value, self.line.quartic_name: self.line.quartic}
        return {"kind": "phi4", "notation": self.line.notation, **couplings}

    @property
    def cycles(self) -> int:
        return sum(each.cycles for each in self.simulations)


class TooFewCycles(InputError):
    """The allowed cycles do not suffice for the wanted error; `found` is the outcome so far, if it has an error.

    Args:
        message: the sentence.
        found: the outcome with its error.
    """

    def __init__(self, message: str, found: Tuning | None):
        super().__init__(message)
        self.found = found
