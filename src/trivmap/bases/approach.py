"""Steps in a coupling towards a theory for which the free field is a poor start."""

import math
from collections.abc import Callable

from trivmap.actions import AbstractAction
from trivmap.actions.action import scalar_coefficients
from trivmap.bases.hartree import hartree_mass
from trivmap.lattice import Lattice

_EASY = 6.8
"""Hartree mass times smallest extent above which a continuous flow is trained without steps: phi^4 at L = 8."""
_RATIO = 0.85
"""The least ratio of that product between one step and the next."""
_MOST = 12


def hartree_extent(lattice: Lattice, action: AbstractAction) -> float:
    """m L: the smallest extent of the lattice in units of the correlation length 1 / m of the best Gaussian.

    m^2 = M / (-c1) with the mass M of `hartree_mass`. It is infinite for an action without `coefficients`, or
    with an antiferromagnetic coupling.
    """
    found = scalar_coefficients(action)
    if found is None or found[0] >= 0:
        return math.inf
    c1, c2, c4 = found
    return math.sqrt(max(0.0, hartree_mass(lattice, c1, c2, c4)) / -c1) * min(lattice.shape)


def approach(lattice: Lattice, action_at: Callable[[float], AbstractAction]) -> list[float]:
    """The s < 1 of the actions to train on, in turn, before the action at s = 1; empty if that one is easy.

    A flow that starts from the best Gaussian and is trained on its own configurations misses the peaks of P(m) beyond
    the critical point. If it gets there in steps, it keeps them. The steps divide log(m L) of the Gaussian evenly, see
    `hartree_extent`, starting where the flow can be trained directly.

    Args:
        lattice: the lattice.
        action_at: the action at s in [0, 1], deep in its disordered phase at 0, the wanted action at 1.
    """
    end = hartree_extent(lattice, action_at(1.0))
    if end >= _EASY or hartree_extent(lattice, action_at(0.0)) <= _EASY:
        return []
    number = min(_MOST, math.ceil(math.log(_EASY / end) / -math.log(_RATIO)))
    return [_where(lattice, action_at, _EASY * (end / _EASY) ** (step / number)) for step in range(number)]


def _where(lattice: Lattice, action_at: Callable[[float], AbstractAction], extent: float) -> float:
    """The s at which m L has the value `extent`; m falls with s."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if hartree_extent(lattice, action_at(middle)) > extent else (low, middle)
    return (low + high) / 2
