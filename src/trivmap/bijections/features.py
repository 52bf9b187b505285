"""The odd functions of the field that make up the velocity of a continuous flow."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from trivmap._types import Field
from trivmap.arguments import OneOf, Positive, require_fields
from trivmap.errors import InputError
from trivmap.fourier import Modes, yukawa
from trivmap.lattice import Lattice

Pair = tuple[Array, Array]


def _tanh(u: Array) -> Pair:
    value = jnp.tanh(u)
    return value, 1 - value * value


def _algebraic(u: Array) -> Pair:
    root = jax.lax.rsqrt(1 + u * u)
    return u * root, root * root * root


def _sine(u: Array) -> Pair:
    return jnp.sin(u), jnp.cos(u)


FAMILIES: dict[str, Callable[[Array], Pair]] = {"tanh": _tanh, "algebraic": _algebraic, "sine": _sine}
"""h(u) and h'(u) by name; `algebraic` is u / sqrt(1 + u^2). All h are odd, with h(u) = u + O(u^3)."""


Neighbors = Literal["neighbors"]
Filter = float | Neighbors | None
"""The filter A of a feature's argument A phi: m^2 / (khat^2 + m^2), the mean over the 2 d neighbors, or 1."""


class FeatureScale(NamedTuple):
    """Features of one filter's field, one per width; a mass smears over about 1 / mass sites."""

    filter: Filter
    widths: tuple[float, ...]


@dataclass(frozen=True)
class Smeared:
    """Features of the field smeared by the filter m^2 / (khat^2 + m^2).

    Args:
        mass: m, in lattice units: the field is smeared over about 1 / m sites
        widths: the w of the features of this smeared field
    """

    mass: Positive
    widths: Sequence[Positive]

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))
        require_fields(self)


@dataclass(frozen=True)
class Features:
    """The features h_f(phi) = h(w_f A_f phi) / w_f of one configuration, and phi itself if `linear`.

    A_f is the identity, the mean over the neighbors, or for a smeared scale the filter m^2 / (khat^2 + m^2): at long
    distances the nonlinearity is in the smeared field, not in the field at a site. The divergence of
    sum_y W_f(x - y) h_f(y) stays exact and cheap. Features are static: nothing here is learned.

    Args:
        family: h of the features h(w phi) / w: `tanh`, `algebraic` (u / sqrt(1 + u^2)) or `sine`
        widths: the w of the features of the field itself; may be empty
        neighbors: the w of the features of the mean over the 2d nearest neighbors
        smeared: list of sections: features of smeared fields; may be empty
        linear: whether the field itself is a feature too

    Raises `InputError` for an unknown family, for widths that are not positive and finite, and for no feature at all.
    """

    family: Annotated[str, OneOf(FAMILIES)] = "tanh"
    widths: Sequence[Positive] = (1.0, 2.0, 4.0)
    neighbors: Sequence[Positive] = ()
    smeared: Sequence[Smeared] = (Smeared(1.0, (1.0, 2.0)), Smeared(0.5, (1.5, 3.0)))
    linear: bool = True

    def __post_init__(self):
        for name in ("widths", "neighbors", "smeared"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        require_fields(self)
        if self.number == 0:
            raise InputError("widths: at least one feature is needed; give widths, or linear: true")

    @property
    def scales(self) -> tuple[FeatureScale, ...]:
        """The features by the filters of their arguments."""
        mean = (FeatureScale("neighbors", tuple(self.neighbors)),) if self.neighbors else ()
        smeared = (FeatureScale(scale.mass, tuple(scale.widths)) for scale in self.smeared)
        return (FeatureScale(None, tuple(self.widths)), *mean, *smeared)

    @property
    def number(self) -> int:
        return int(self.linear) + sum(len(scale.widths) for scale in self.scales)

    def spectra(self, lattice: Lattice) -> np.ndarray:
        """The eigenvalues of the filters of all scales except the field itself, shape (scales, orbits)."""
        rows = [_spectrum(lattice, kind) for kind, _ in self.scales if kind is not None]
        return np.array(rows).reshape(-1, len(lattice.orbit_sizes))

    def filters(self, lattice: Lattice) -> np.ndarray:
        """The eigenvalues of A_f on the momentum orbits, shape (number, orbits)."""
        one = np.ones(len(lattice.orbit_sizes))
        rows = [one] * int(self.linear)
        for kind, widths in self.scales:
            rows += [one if kind is None else _spectrum(lattice, kind)] * len(widths)
        return np.array(rows)

    def __call__(self, modes: Modes, field: Field) -> tuple[Float[Array, "f *lattice"], list[Field]]:
        """(h_f, h_f'): values of shape (number, *lattice), and a list of slopes with respect to A_f phi.

        Only sums of slopes are needed: a stacked array would be written to memory and read again.
        """
        spectra = self.spectra(modes.lattice)
        smeared: Iterator[Field] = iter(())
        if len(spectra):
            eigenvalues = jnp.asarray(modes.expand(spectra), field.dtype)
            smeared = iter(modes.inverse(modes.scale(modes.forward(field)[None], eigenvalues)))
        values = [field] if self.linear else []
        slopes = [jnp.ones_like(field)] if self.linear else []
        for kind, widths in self.scales:
            argument = field if kind is None else next(smeared)
            for width in widths:
                value, slope = FAMILIES[self.family](width * argument)
                values.append(value / width)
                slopes.append(slope)
        return jnp.stack(values), slopes


def _spectrum(lattice: Lattice, kind: float | Neighbors) -> np.ndarray:
    """Eigenvalues of a filter on the momentum orbits."""
    if kind == "neighbors":
        return 1 - lattice.orbit_momenta / (2 * lattice.dimension)
    return yukawa(lattice, kind)
