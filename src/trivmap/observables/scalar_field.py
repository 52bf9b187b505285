"""The observables of one real number per site, in the order of tables."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from trivmap.observables import estimators, measurements
from trivmap.observables.correlator_fits import cosh_fit, plateau
from trivmap.observables.observable import FitToCorrelator, FunctionOfMeans, Mean, Observable


def _of_field(function: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """A measurement that needs no action."""
    return lambda field, action: function(field)


SCALAR_FIELD: tuple[Observable, ...] = (
    FunctionOfMeans(
        name="susceptibility", symbol="χ = V⟨m²⟩", short="χ", tex=r"\chi", power=2, headline=True,
        needs=("magnetization_squared",), function=estimators.susceptibility,
    ),
    FunctionOfMeans(
        name="connected_susceptibility", symbol="V(⟨m²⟩ − ⟨|m|⟩²)", power=2,
        needs=("magnetization_squared", "abs_magnetization"), function=estimators.connected_susceptibility,
    ),
    Mean(
        name="abs_magnetization", symbol="⟨|m|⟩", short="|m|", tex="|m|", power=1, headline=True,
        measurement="magnetization", each=np.abs,
    ),
    Mean(name="magnetization_squared", power=2, hidden=True, measurement="magnetization", each=np.square),
    Mean(
        name="magnetization_fourth", power=4, hidden=True,
        measurement="magnetization", each=lambda m: np.square(np.square(m)),
    ),
    Mean(
        name="phi2", symbol="⟨φ²⟩", short="φ²", tex=r"\phi^2", power=2, headline=True,
        measure=_of_field(functools.partial(measurements.mean_power, 2)),
    ),
    Mean(name="phi4", symbol="⟨φ⁴⟩", power=4, measure=_of_field(functools.partial(measurements.mean_power, 4))),
    Mean(
        name="ising_energy", symbol="⟨φ(x)·φ(x+μ)⟩", short="energy", tex=r"\phi(x)\phi(x+\mu)", power=2, headline=True,
        measure=_of_field(measurements.ising_energy),
    ),
    FunctionOfMeans(
        name="binder", symbol="1 − ⟨m⁴⟩/3⟨m²⟩²",
        needs=("magnetization_fourth", "magnetization_squared"), function=estimators.binder,
    ),
    Mean(name="action_density", symbol="⟨S⟩/V", short="S/V", tex="S/V", measure=measurements.action_density),
    FunctionOfMeans(
        name="correlation_length", symbol="ξ, low momentum", short="ξ", tex=r"\xi", headline=True, of_decay=True,
        needs=("momentum_two_point",), function=estimators.correlation_length,
        failure="G(0) <= G(k1), so that xi^2 is not positive: too few samples or no correlation at all",
    ),
    Mean(
        name="schwinger_dyson", symbol="⟨φ ∂S/∂φ⟩ = 1", short="Schwinger–Dyson, ⟨φ ∂S/∂φ⟩", exact=1.0,
        measure=measurements.schwinger_dyson,
    ),
    FunctionOfMeans(
        name="correlation_length_second_moment", symbol="ξ, second moment", of_decay=True,
        needs=("correlator",), function=estimators.correlation_length_second_moment,
        failure="the second moment of the correlator is not positive: too few samples or no correlation at all",
    ),
    FitToCorrelator(name="correlation_length_arccosh", symbol="ξ, effective mass", of_decay=True, fit=plateau),
    FitToCorrelator(name="correlation_length_cosh_fit", symbol="ξ, cosh fit", of_decay=True, fit=cosh_fit),
    Mean(
        name="magnetization", symbol="⟨m⟩", short="m", tex="m", power=1, headline=True, zero_under="z2",
        measure=_of_field(measurements.magnetization),
    ),
    Mean(
        name="momentum_two_point", power=2, axes=("momentum",), measure=_of_field(measurements.momentum_two_point)
    ),
    Mean(name="correlator", power=2, axes=("t",), measure=_of_field(measurements.correlator)),
    Mean(name="two_point", power=2, axes=("orbit",), measure=_of_field(measurements.two_point)),
    FunctionOfMeans(
        name="effective_mass", axes=("t",), needs=("correlator",), function=estimators.effective_mass,
        failure="(C(t-1) + C(t+1)) / (2 C(t)) is not above 1: the noise exceeds the signal", first=1,
    ),
)  # fmt: skip
"""m is the magnetization, V the number of sites; see `measurements`, `estimators` and `correlator_fits`."""
