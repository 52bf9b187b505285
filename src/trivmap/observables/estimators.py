"""Observables as plain functions of means over configurations and of the lattice.

Each is analytic in the means (a mapping from name to array); see `FunctionOfMeans`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from trivmap.lattice import Lattice
from trivmap.observables.observable import Means


def delta_h_symmetry(exp_minus_delta_h: np.ndarray) -> np.ndarray:
    """1 - 4 e (1 - e) / (1 + e)^2 with e = exp(-dH) for each trajectory: its mean in equilibrium is 1, like that of e.

    It equals e up to dH^3 and lies between 1/2 and 5, whereas e has tails that a chain meets too rarely to measure its
    mean. For reversible trajectories in equilibrium P(-dH) = exp(-dH) P(dH) (Crooks, arXiv:cond-mat/9901352), so the
    mean of o(dH) / (1 + exp(dH)) vanishes for every odd o; here o = 4 tanh(dH / 2).
    """
    down = 1 / (1 + exp_minus_delta_h)
    return 1 - 4 * (1 - down) * (2 * down - 1)


def susceptibility(means: Means, lattice: Lattice) -> Any:
    """V <m^2>."""
    return lattice.volume * means["magnetization_squared"]


def connected_susceptibility(means: Means, lattice: Lattice) -> Any:
    """V (<m^2> - <|m|>^2)."""
    return lattice.volume * (means["magnetization_squared"] - means["abs_magnetization"] ** 2)


def binder(means: Means, lattice: Lattice) -> Any:
    """1 - <m^4> / (3 <m^2>^2): 0 for a Gaussian m, 2/3 for two sharp peaks."""
    return 1 - means["magnetization_fourth"] / (3 * means["magnetization_squared"] ** 2)


def correlation_length(means: Means, lattice: Lattice) -> Any:
    """Low-momentum estimator: xi^2 = (G(0)/G(k1) - 1) / (4 sin^2(pi/L)), k1 = 2 pi / L along one axis.

    G is not subtracted, and G(k1) is averaged over axes before the ratio is taken. On unequal extents, L is the
    largest and the average runs over the axes of that extent. NaN if G(0) <= G(k1). For a free field of mass m in any
    volume xi = 1/m.
    """
    zero, lowest = means["momentum_two_point"][0], means["momentum_two_point"][1]
    square = (zero / lowest - 1) / (4 * np.sin(np.pi / max(lattice.shape)) ** 2)
    return np.sqrt(_where(np.real(square) > 0, square))


def correlation_length_second_moment(means: Means, lattice: Lattice) -> Any:
    """Second moment in position space: xi^2 = sum_t t^2 C(t) / (2 sum_t C(t)), -L/2 < t <= L/2, C unsubtracted.

    Tends to `correlation_length` for L >> xi; at L of a few xi the truncation at L/2 makes it smaller.
    """
    extent, c = max(lattice.shape), means["correlator"]
    t = np.arange(len(c))
    copies = np.where((t == 0) | (2 * t == extent), 1.0, 2.0)
    square = np.sum(copies * t**2 * c) / (2 * np.sum(copies * c))
    return np.sqrt(_where(np.real(square) > 0, square))


def effective_mass(means: Means, lattice: Lattice) -> Any:
    """m(t) = arccosh((C(t-1) + C(t+1)) / (2 C(t))), t = 0 ... L // 2 with C(L-t) = C(t); NaN at t = 0.

    It is the pole mass if C(t) is a single cosh: exactly so for a free field at every t >= 1.
    """
    extent, c = max(lattice.shape), means["correlator"]
    t = np.arange(1, len(c))
    after = np.minimum(t + 1, extent - t - 1)
    ratio = (c[t - 1] + c[after]) / (2 * c[t])
    return np.concatenate([np.full(1, np.nan), np.arccosh(_where((np.real(c[t]) > 0) & (np.real(ratio) > 1), ratio))])


def gradient(function: Callable[[np.ndarray], Any], point: np.ndarray) -> np.ndarray:
    """df/dx by a complex step, shape (*f.shape, len(x)); meaningless if f is NaN."""
    step = 1e-20
    columns = []
    for k in range(len(point)):
        shifted = point.astype(np.complex128)
        shifted[k] += 1j * step
        columns.append(np.imag(function(shifted)) / step)
    return np.stack(columns, axis=-1)


def _where(condition: Any, values: Any) -> Any:
    return np.where(condition, values, np.nan)
