"""The odd functions of the field that a continuous flow's velocity is made of."""

import math
import reprlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from trivmap._types import Field
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
"""h(u) and h'(u) by name; `algebraic` is u / sqrt(1 + u^2). All odd, with h(u) = u + O(u^3)."""


Neighbors = Literal["neighbors"]
Filter = float | Neighbors | None
"""Of a feature's argument A phi: m^2 / (khat^2 + m^2), the mean over the 2 d neighbors, or nothing."""


class Scale(NamedTuple):
    """Features of one filter's field, one per width; a mass smears over about 1 / mass sites."""

    filter: Filter
    widths: tuple[float, ...]


@dataclass(frozen=True)
class Features:
    """The features h_f(phi) = h(w_f A_f phi) / w_f of one configuration, and phi itself where `linear`.

    A_f is the identity, the mean over the neighbors, or for a smeared scale the filter m^2 / (khat^2 + m^2): what is
    nonlinear at long distances is the smeared field, not the field at a site. The divergence of sum_y W_f(x - y) h_f(y)
    stays exact and cheap, see `slopes`. Static: nothing here is learned.

    Raises `InputError` for an unknown family, and for widths or masses that are not positive and finite.
    """

    family: str
    scales: tuple[Scale, ...]
    linear: bool

    def __init__(self, family: str, scales: Sequence[tuple[Filter, Sequence[float]]], linear: bool = True):
        if family not in FAMILIES:
            raise InputError(f"features.family: {family!r} is unknown; choose one of {', '.join(FAMILIES)}")
        for kind, widths in scales:
            for name, values in (("mass", [kind] if isinstance(kind, float | int) else []), ("widths", widths)):
                if not all(0 < value < math.inf for value in values):
                    raise InputError(f"features.{name}: must be positive and finite, got {reprlib.repr(list(values))}")
        object.__setattr__(self, "family", family)
        object.__setattr__(self, "scales", tuple(Scale(kind, tuple(widths)) for kind, widths in scales))
        object.__setattr__(self, "linear", linear)
        if self.number == 0:
            raise InputError("features: at least one feature is needed; give widths, or linear: true")

    @property
    def number(self) -> int:
        return int(self.linear) + sum(len(scale.widths) for scale in self.scales)

    def spectra(self, lattice: Lattice) -> np.ndarray:
        """The eigenvalues of the filters of all scales but the field's own, shape (scales, orbits)."""
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
        """(h_f, h_f'): values of shape (number, *lattice), and slopes with respect to A_f phi, each on its own.

        Only sums of slopes are ever needed: stacked, they would be written to memory and read again.
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
