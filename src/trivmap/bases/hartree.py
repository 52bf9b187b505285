"""The best Gaussian for a phi^4 action, without training."""

import numpy as np

from trivmap.actions.notations import require_integrable
from trivmap.lattice import Lattice


def hartree_mass(lattice: Lattice, c1: float, c2: float, c4: float) -> float:
    """M of the Hartree propagator 1 / (-c1 khat^2 + M), the Gaussian of least reverse KL to exp(-S).

    M is the root of M = 2 c2 + 2 d c1 + 12 c4 <phi^2> with <phi^2> = V^-1 sum_k 1 / (-c1 khat^2 + M), for
    S = sum_x [c1 sum_mu phi phi + c2 phi^2 + c4 phi^4]. At a temperature T, divide the coefficients by T.

    Raises `InputError` if exp(-S) has no integral.
    """
    require_integrable(c1, c2, c4, lattice.dimension)
    kinetic = -c1 * lattice.momentum_squared
    bare = 2 * c2 + 2 * lattice.dimension * c1

    from scipy.optimize import brentq  # takes longer to import than all of trivmap

    def gap(excess: float) -> float:
        mass = lowest + excess
        return mass - bare - 12 * c4 * float(np.mean(1 / (kinetic + mass)))

    # The spectrum must be positive at every momentum, also for an antiferromagnetic coupling.
    lowest = -float(kinetic.min())
    if c4 == 0:
        return bare
    upper = 1.0
    while gap(upper) < 0:
        upper *= 2
    lower = upper
    while gap(lower) >= 0:
        lower /= 2
    return lowest + float(brentq(gap, lower, upper, xtol=1e-15, rtol=1e-14))
