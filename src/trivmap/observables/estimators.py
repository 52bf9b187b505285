"""From means over configurations to observables: plain functions, given with the names in `observables.json`.

Every function takes the means of the primary quantities (a mapping from name to array) and the lattice, and is
analytic in the means, so that its derivatives, and with them its error, come from a complex step:
f'(x) = Im f(x + ih) / h, exact to rounding. A real argument gives a real value; NaN says that the estimator fails.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trivmap.lattice import Lattice

Means = Mapping[str, Any]

POWERS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "abs_magnetization": np.abs,
    "magnetization_squared": np.square,
    "magnetization_fourth": lambda m: np.square(np.square(m)),
}
"""Primary quantities computed from each configuration's magnetization; every measurement is a primary itself."""


LENGTHS = (
    "correlation_length",
    "correlation_length_second_moment",
    "correlation_length_arccosh",
    "correlation_length_cosh_fit",
)
"""The estimators of the correlation length, the fits to the correlator included."""


@dataclass(frozen=True)
class Estimator:
    """An observable that is a function of means: its name, the primaries it needs, and why it may fail.

    Entries of an array before `first` are undefined by their definition.
    """

    name: str
    needs: tuple[str, ...]
    function: Callable[[Means, Lattice], Any]
    failure: str = "it is not a number"
    first: int = 0


def primaries(measurements: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The quantities whose means are taken, in float64.

    Every measurement; beside the magnetization |m|, m^2 and m^4. exp(-dH) gives way to its `delta_h_symmetry`: in
    equilibrium its own mean is 1 too, but a chain meets its tails too rarely to give that mean an error.
    """
    result = {name: np.asarray(values, np.float64) for name, values in measurements.items()}
    if "magnetization" in result:
        result |= {name: function(result["magnetization"]) for name, function in POWERS.items()}
    if "exp_minus_delta_h" in result:
        result["delta_h_symmetry"] = delta_h_symmetry(result.pop("exp_minus_delta_h"))
    return result


def delta_h_symmetry(exp_minus_delta_h: np.ndarray) -> np.ndarray:
    """1 - 4 e (1 - e) / (1 + e)^2 of e = exp(-dH) for each trajectory: its mean is 1 in equilibrium, as that of e.

    It is e up to dH^3, and lies between 1/2 and 5, where e has tails that a chain meets too rarely to have a mean. That
    P(-dH) = exp(-dH) P(dH) of reversible trajectories in equilibrium (Crooks, arXiv:cond-mat/9901352) makes the mean of
    o(dH) / (1 + exp(dH)) vanish for every odd o; here o = 4 tanh(dH / 2).
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

    The pole mass wherever C(t) is a single cosh: exactly so for a free field at every t >= 1.
    """
    extent, c = max(lattice.shape), means["correlator"]
    t = np.arange(1, len(c))
    after = np.minimum(t + 1, extent - t - 1)
    ratio = (c[t - 1] + c[after]) / (2 * c[t])
    return np.concatenate([np.full(1, np.nan), np.arccosh(_where((np.real(c[t]) > 0) & (np.real(ratio) > 1), ratio))])


ESTIMATORS: tuple[Estimator, ...] = (
    Estimator("susceptibility", ("magnetization_squared",), susceptibility),
    Estimator("connected_susceptibility", ("magnetization_squared", "abs_magnetization"), connected_susceptibility),
    Estimator("binder", ("magnetization_fourth", "magnetization_squared"), binder),
    Estimator(
        "correlation_length",
        ("momentum_two_point",),
        correlation_length,
        "G(0) <= G(k1), so that xi^2 is not positive: too few samples or no correlation at all",
    ),
    Estimator(
        "correlation_length_second_moment",
        ("correlator",),
        correlation_length_second_moment,
        "the second moment of the correlator is not positive: too few samples or no correlation at all",
    ),
    Estimator(
        "effective_mass",
        ("correlator",),
        effective_mass,
        "(C(t-1) + C(t+1)) / (2 C(t)) is not above 1: the noise exceeds the signal",
        first=1,
    ),
)


def gradient(function: Callable[[np.ndarray], Any], point: np.ndarray) -> np.ndarray:
    """df/dx by a complex step, shape (*f.shape, len(x)); without meaning where f is NaN."""
    step = 1e-20
    columns = []
    for k in range(len(point)):
        shifted = point.astype(np.complex128)
        shifted[k] += 1j * step
        columns.append(np.imag(function(shifted)) / step)
    return np.stack(columns, axis=-1)


def _where(condition: Any, values: Any) -> Any:
    return np.where(condition, values, np.nan)
