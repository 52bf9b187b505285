"""The observables of a vector s(x) at every site: several real components, or the direction of an angle.

They have the names, formulas and derived observables of the scalar field, with scalar products of vectors in place of
products of numbers; |m| is the length of the vector m.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from trivmap._types import Field, Scalar, site_sum
from trivmap.actions import AbstractAction
from trivmap.observables import measurements
from trivmap.observables.observable import Mean, Observable
from trivmap.observables.scalar_field import SCALAR_FIELD
from trivmap.spaces import AbstractSpace, Real


def magnetization_squared(field: Field, action: AbstractAction) -> Scalar:
    """m . m, m = V^-1 sum_x s(x)."""
    return jnp.sum(magnetization_vector(field, action) ** 2)


def magnetization_vector(field: Field, action: AbstractAction) -> Float[Array, " components"]:
    """m, component by component."""
    return jnp.stack([measurements.magnetization(each) for each in action.space.components(field)])


def abs_magnetization(field: Field, action: AbstractAction) -> Scalar:
    """|m|."""
    return jnp.sqrt(magnetization_squared(field, action))


def magnetization_fourth(field: Field, action: AbstractAction) -> Scalar:
    """|m|^4."""
    return magnetization_squared(field, action) ** 2


def mean_power(power: int, field: Field, action: AbstractAction) -> Scalar:
    """V^-1 sum_x |s(x)|^power, for even powers."""
    components = action.space.components(field)
    square = functools.reduce(jnp.add, (each * each for each in components))
    return site_sum(square ** (power // 2)) / square.size


def action_density(field: Field, action: AbstractAction) -> Scalar:
    """S / V."""
    return action(field) / action.space.components(field)[0].size


def schwinger_dyson(field: Field, action: AbstractAction) -> Scalar:
    """(n V)^-1 sum_x phi(x) . dS/dphi(x) of n components, 1 on average in every correct ensemble."""
    return -site_sum(field * action.force(field)) / field.size


def schwinger_dyson_of_neighbors(field: Field, action: AbstractAction) -> Scalar:
    """V^-1 (grad E . grad S - Laplacian E), E = -sum_x sum_mu s(x) . s(x+mu): 0 on average in every correct ensemble.

    It is E[v . grad S - div v] for v = grad E, which vanishes on every space without a boundary. For unit vectors of n
    components the Laplacian of E is 2 (n - 1) sum_x sum_mu s(x) . s(x+mu).
    """
    components = action.space.components(field)
    number, volume = len(components), components[0].size

    def energy(field: Field) -> Scalar:
        return -_neighbors(field, action) * (components[0].ndim * volume)

    slope = action.space.tangent(field, jax.grad(energy)(field).astype(field.dtype))
    product = -site_sum(slope * action.force(field))
    return (product + 2 * (number - 1) * energy(field)) / volume


def _over_components(function: Callable[[Field], Any]) -> Callable[[Field, AbstractAction], Any]:
    """The sum of a measurement over the components of s."""

    def measure(field: Field, action: AbstractAction) -> Any:
        return functools.reduce(jnp.add, map(function, action.space.components(field)))

    return measure


_neighbors = _over_components(measurements.ising_energy)


def _like_scalar(name: str, measure: Callable[[Field, AbstractAction], Any]) -> Mean:
    """The scalar field's observable of that name with another measurement, stored under its own name."""
    known: Any = next(each for each in SCALAR_FIELD if each.name == name)
    return replace(known, measurement="", each=np.asarray, measure=measure)


_SPINS: tuple[Mean, ...] = (
    _like_scalar("abs_magnetization", abs_magnetization),
    _like_scalar("magnetization_squared", magnetization_squared),
    _like_scalar("magnetization_fourth", magnetization_fourth),
    _like_scalar("ising_energy", _neighbors),
    _like_scalar("action_density", action_density),
    _like_scalar("momentum_two_point", _over_components(measurements.momentum_two_point)),
    _like_scalar("correlator", _over_components(measurements.correlator)),
    _like_scalar("two_point", _over_components(measurements.two_point)),
)
_LINEAR: tuple[Mean, ...] = (
    _like_scalar("phi2", functools.partial(mean_power, 2)),
    _like_scalar("phi4", functools.partial(mean_power, 4)),
    _like_scalar("schwinger_dyson", schwinger_dyson),
)
OF_VECTORS: tuple[Mean, ...] = (
    Mean(
        name="magnetization_vector", symbol="⟨m⟩, by component", power=1, axes=("component",), zero_under="z2",
        measure=magnetization_vector,
    ),
)  # fmt: skip
"""Observables only for fields with several real components."""
OF_UNIT_VECTORS: tuple[Mean, ...] = (
    Mean(
        name="schwinger_dyson_of_neighbors", symbol="⟨∇E·∇S − ∇²E⟩/V = 0",
        short="Schwinger–Dyson, ⟨∇E·∇S − ∇²E⟩/V", exact=0.0, measure=schwinger_dyson_of_neighbors,
    ),
)  # fmt: skip
"""Observables only for unit vectors; E = -sum of s(x) . s(x+mu)."""


def of_space(space: AbstractSpace) -> tuple[Observable, ...]:
    """The observables that are measured on the fields of a space."""
    if space == Real():
        return SCALAR_FIELD
    if space.linear:
        return (*_SPINS, *OF_VECTORS, *_LINEAR)
    return (*_SPINS, *(OF_UNIT_VECTORS if space.unit_vectors else ()))
