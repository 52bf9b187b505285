"""A flow on the even sites of a two-dimensional phi^4 theory, its odd sites integrated out: see one_colour.py.

The even sites of an L x L lattice are the lattice L x L/2 with (x, j) at (x, x + 2j mod L), L a multiple of 4:
translations of one are those of the other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from trivmap._types import site_sum
from trivmap.actions import AbstractAction, Phi4
from trivmap.bases import AbstractBase, hartree_mass
from trivmap.bijections import AbstractBijection
from trivmap.bijections.features import FAMILIES
from trivmap.bijections.integrators import integrate
from trivmap.lattice import Lattice

LARGEST_FIELD = 30.0
"""Of h; the neighbours would have to be 12 each."""


def site_moments(c2: float, c4: float, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log Z1(h) and its derivative <phi>_h, by the trapezoidal rule, which is exact to rounding here."""
    phi = np.linspace(-9.0, 9.0, 3001)
    exponent = np.multiply.outer(h, phi) - c2 * phi**2 - c4 * phi**4
    top = exponent.max(axis=-1, keepdims=True)
    weight = np.exp(exponent - top)
    total = weight.sum(axis=-1)
    return np.log(total * (phi[1] - phi[0])) + top[..., 0], (weight @ phi) / total


@cache
def log_z1_coefficients(c2: float, c4: float, degree: int = 32) -> tuple[float, ...]:
    """Chebyshev coefficients of log Z1 in s = sqrt(1 + h^2), 1 <= s <= sqrt(1 + LARGEST_FIELD^2)."""
    top = math.sqrt(1 + LARGEST_FIELD**2)
    nodes = np.cos(np.pi * (np.arange(4 * degree) + 0.5) / (4 * degree))
    s = 1 + (nodes + 1) / 2 * (top - 1)
    values, _ = site_moments(c2, c4, np.sqrt(s**2 - 1))
    return tuple(np.polynomial.chebyshev.chebfit(nodes, values, degree).tolist())


def log_z1(c2: float, c4: float, h: jax.Array) -> jax.Array:
    """log Z1(h) by Clenshaw's recurrence."""
    top = math.sqrt(1 + LARGEST_FIELD**2)
    x = 2 * (jnp.sqrt(1 + h * h) - 1) / (top - 1) - 1
    first, *_ = coefficients = log_z1_coefficients(c2, c4)
    ahead, behind = jnp.zeros_like(x), jnp.zeros_like(x)
    for coefficient in coefficients[:0:-1]:
        ahead, behind = coefficient + 2 * x * ahead - behind, ahead
    return first + x * ahead - behind


@dataclass(frozen=True)
class EvenSites:
    """The even sites of an L x L lattice, with the modes of operators from even to even, or even to odd, sites."""

    extent: int

    @property
    def lattice(self) -> Lattice:
        return Lattice((self.extent, self.extent // 2))

    def columns(self, colour: int) -> np.ndarray:
        """y of the site (x, x + 2j + colour mod L) at (x, j)."""
        x, j = np.indices(self.lattice.shape)
        return (x + 2 * j + colour) % self.extent

    def modes(self, kernel: np.ndarray, colour: int) -> np.ndarray:
        """Eigenvalues of kernels (..., L, L) on displacements; complex for `colour` 1, from even to odd sites."""
        x = np.indices(self.lattice.shape)[0]
        modes = np.fft.rfft2(kernel[..., x, self.columns(colour)])
        return modes if colour else modes.real

    @cached_property
    def weights(self) -> np.ndarray:
        """Of the modes that are kept, in the mean over all."""
        columns = self.extent // 4 + 1
        twice = np.full(columns, 2.0)
        twice[0] = 1
        if self.extent // 2 % 2 == 0:
            twice[-1] = 1
        return np.broadcast_to(twice, (self.extent, columns)) / self.lattice.volume

    @cached_property
    def orbits(self) -> np.ndarray:
        """Labels of the kept modes: the momenta k and k + (pi, pi), and their orbits, have one."""
        full = Lattice((self.extent, self.extent))
        # The mode (p, q) of the even sites has k_y = q or q + L/2, k_x = p - k_y, in units of 2 pi / L.
        p, q = np.indices((self.extent, self.extent // 4 + 1))
        pair = [full.orbits[(p - k) % self.extent, k % self.extent] for k in (q, q + self.extent // 2)]
        both = np.sort(pair, axis=0).reshape(2, -1)
        return np.unique(both, axis=1, return_inverse=True)[1].reshape(p.shape)


def scaled(modes: jax.Array, eigenvalues: jax.Array) -> jax.Array:
    """Modes times eigenvalues, real or complex."""
    if jnp.iscomplexobj(eigenvalues):
        return modes * eigenvalues
    return jax.lax.complex(modes.real * eigenvalues, modes.imag * eigenvalues)


def kernel(extent: int, kind: float | tuple[int, int]) -> np.ndarray:
    """The tail of a mass, with the spectrum m^2 / (khat^2 + m^2), or the mean over the orbit of a displacement."""
    full = Lattice((extent, extent))
    if isinstance(kind, tuple):
        orbit = full.orbits == full.orbits[kind]
        return orbit / orbit.sum()
    return np.fft.ifft2(kind**2 / (full.momentum_squared + kind**2)).real


class OneColour(AbstractAction):
    """S_eff = sum_even (c2 phi^2 + c4 phi^4) - sum_odd log Z1(h), of a field on `EvenSites`."""

    c1: float
    c2: float
    c4: float

    def __init__(self, action: Phi4):
        self.c1, self.c2, self.c4 = action.coefficients

    def neighbours(self, field: jax.Array) -> jax.Array:
        """Sum of the four neighbours of the odd site (x, x + 2j + 1) at (x, j)."""
        ahead = jnp.roll(field, -1, axis=1)
        return field + ahead + jnp.roll(ahead, 1, axis=0) + jnp.roll(field, -1, axis=0)

    def __call__(self, field: jax.Array) -> jax.Array:
        square = field * field
        odd = log_z1(self.c2, self.c4, self.c1 * self.neighbours(field))
        return site_sum(square * (self.c2 + self.c4 * square)) - site_sum(odd)

    @property
    def symmetries(self) -> frozenset[str]:
        return frozenset({"z2"})


class EvenFreeField(AbstractBase):
    """The marginal of the Hartree free field on the even sites, with one learnable factor per orbit of modes."""

    log_factor: jax.Array
    sites: EvenSites = eqx.field(static=True)
    c1: float = eqx.field(static=True)
    mass: float = eqx.field(static=True)
    lattice: Lattice = eqx.field(static=True)
    dtype: str = eqx.field(static=True)

    def __init__(self, extent: int, action: Phi4):
        full = Lattice((extent, extent))
        self.sites, self.lattice, self.dtype = EvenSites(extent), EvenSites(extent).lattice, "float32"
        self.c1, self.mass = action.c1, hartree_mass(full, *action.coefficients)
        self.log_factor = jnp.zeros(self.sites.orbits.max() + 1, jnp.float32)

    def push(self, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        log_width = self._log_width()
        modes = jnp.fft.rfft2(z)
        x = jnp.fft.irfft2(scaled(modes, jnp.exp(log_width)), self.lattice.shape)
        score = -jnp.fft.irfft2(scaled(modes, jnp.exp(-log_width)), self.lattice.shape)
        return x, self._log_density(z, log_width), jax.lax.stop_gradient(score)

    def log_density(self, x: jax.Array) -> jax.Array:
        log_width = self._log_width()
        return self._log_density(
            jnp.fft.irfft2(scaled(jnp.fft.rfft2(x), jnp.exp(-log_width)), self.lattice.shape), log_width
        )

    def astype(self, dtype):
        raise NotImplementedError

    def _log_width(self) -> jax.Array:
        full = Lattice((self.sites.extent, self.sites.extent))
        propagator = np.fft.ifft2(1 / (-self.c1 * full.momentum_squared + self.mass)).real
        start = jnp.asarray(0.5 * np.log(self.sites.modes(propagator, 0)), jnp.float32)
        return start + self.log_factor[self.sites.orbits]

    def _log_density(self, z: jax.Array, log_width: jax.Array) -> jax.Array:
        volume = self.lattice.volume
        log_det = site_sum(log_width * jnp.asarray(volume * self.sites.weights, jnp.float32))
        return -0.5 * site_sum(z * z) - log_det - 0.5 * math.log(2 * math.pi) * volume


class Feature(NamedTuple):
    """h(phi) = tanh(w A phi) / w, or without a width A phi; A is `kernel(filter)`, or 1."""

    filter: float | tuple[int, int] | None
    width: float | None

    def __call__(self, argument: jax.Array) -> tuple[jax.Array, jax.Array]:
        if self.width is None:
            return argument, jnp.ones_like(argument)
        value, slope = FAMILIES["tanh"](self.width * argument)
        return value / self.width, slope


class Group(NamedTuple):
    """Features of one filter, one per width, on the even (0) or the odd (1) sites."""

    colour: int
    filter: float | tuple[int, int] | None
    widths: tuple[float, ...]


TAILS = (0.25, 0.5, 1.0, 2.0, 4.0)
BASIS = ((*TAILS, (0, 0), (1, 1), (2, 0)), (*TAILS, (1, 0), (2, 1), (3, 0)))
"""Kernels from even and from odd sites to even ones."""
OWN, WIDE = Group(0, None, (1.0, 2.0, 4.0)), Group(0, 0.5, (1.5, 3.0))
MAPS = {
    "even sites": (OWN, Group(0, 1.0, (1.0, 2.0)), WIDE),
    "even sites, features on odd sites too": (OWN, Group(1, (1, 0), (1.0, 2.0)), WIDE),
    "even sites, more features on odd sites": (OWN, Group(1, (1, 0), (1.0, 2.0, 4.0)), Group(1, 1.0, (1.0, 2.0)), WIDE),
}


class EvenContinuous(AbstractBijection):
    """`bijections.Continuous` on the even sites, with the same number of coefficients for as many features."""

    coefficients: jax.Array
    offset: jax.Array | None
    groups: tuple[Group, ...] = eqx.field(static=True)
    sites: EvenSites = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    lattice: Lattice = eqx.field(static=True)

    def __init__(self, extent: int, groups: Sequence[Group], *, times: int = 3, steps: int = 6):
        self.groups, self.sites, self.steps, self.offset = tuple(groups), EvenSites(extent), steps, None
        self.lattice = self.sites.lattice
        features = 1 + sum(len(group.widths) for group in groups)
        self.coefficients = jnp.zeros((times, features, len(BASIS[0])), jnp.float32)

    def forward(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return self._integrate(x, (0.0, 1.0))

    def inverse(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        return self._integrate(y, (1.0, 0.0))

    def perturbed(self, u: jax.Array) -> "EvenContinuous":
        return eqx.tree_at(lambda flow: flow.offset, self, u, is_leaf=lambda leaf: leaf is None)

    @property
    def integration_steps(self) -> int:
        return self.steps

    def with_integration_steps(self, steps: int) -> "EvenContinuous":
        blank = EvenContinuous(self.sites.extent, self.groups, times=len(self.coefficients), steps=steps)
        return eqx.tree_at(lambda flow: flow.coefficients, blank, self.coefficients)

    def ridge(self) -> "EvenContinuous":
        weights = 1e-3 * np.arange(len(self.coefficients), dtype=np.float32) ** 4
        ridge = jnp.broadcast_to(jnp.asarray(weights)[:, None, None], self.coefficients.shape)
        return eqx.tree_at(lambda flow: flow.coefficients, self, ridge)

    def _integrate(self, field: jax.Array, span: tuple[float, float]) -> tuple[jax.Array, jax.Array]:
        start = (field, jnp.zeros((), jax.dtypes.canonicalize_dtype(jnp.float64)))
        return integrate(self._velocity, start, steps=self.steps, scheme="rk4", offset=self.offset, span=span)

    def _velocity(self, state: tuple[jax.Array, jax.Array], time: jax.Array) -> tuple[jax.Array, jax.Array]:
        field, dtype = state[0], state[0].dtype
        frequencies = jnp.asarray(np.pi * np.arange(len(self.coefficients)), time.dtype)
        at_time = jnp.einsum("n,nfj->fj", jnp.cos(frequencies * time).astype(dtype), self.coefficients)
        modes, position, parts = jnp.fft.rfft2(field), 0, []
        for colour in (0, 1):
            features = self._features(colour)
            if features:
                parts.append(self._part(colour, features, field, modes, at_time[position : position + len(features)]))
            position += len(features)
        moved = jnp.fft.irfft2(sum(modes for modes, _ in parts), self.lattice.shape)
        return moved, jnp.asarray(sum(divergence for _, divergence in parts))

    def _features(self, colour: int) -> list[Feature]:
        """Filter and width (None: linear) of every feature on the sites of a colour."""
        linear = [Feature(None, None)] if colour == 0 else []
        return linear + [Feature(g.filter, width) for g in self.groups if g.colour == colour for width in g.widths]

    def _part(
        self, colour: int, features: list[Feature], field: jax.Array, modes: jax.Array, at_time: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The modes of the velocity that the features of a colour make, and its divergence."""
        kind, extent = (jnp.complex64 if colour else jnp.float32), self.sites.extent
        bases = self.sites.modes(np.stack([kernel(extent, each) for each in BASIS[colour]]), colour)
        filters = {f: self.sites.modes(kernel(extent, f), colour) for f in {each.filter for each in features} - {None}}
        arguments = {
            f: jnp.fft.irfft2(scaled(modes, jnp.asarray(t, kind)), self.lattice.shape) for f, t in filters.items()
        }
        arguments[None], filters[None] = field, np.ones_like(self.sites.weights)
        values, slopes = zip(*(each(arguments[each.filter]) for each in features), strict=True)
        sums = jnp.sum(jnp.stack(slopes), axis=(1, 2), dtype=jax.dtypes.canonicalize_dtype(jnp.float64))
        # What goes from odd to even sites is the transpose of what goes from even to odd ones.
        tables = np.stack([filters[each.filter] for each in features])
        products = np.einsum("jpq,fpq,pq->fj", bases.conj(), tables, self.sites.weights).real
        central = jnp.sum(at_time * jnp.asarray(products, jnp.float32), axis=1)
        eigenvalues = jnp.einsum("fj,jpq->fpq", at_time.astype(kind), jnp.asarray(bases.conj(), kind))
        moved = jnp.sum(scaled(jnp.fft.rfft2(jnp.stack(values)), eigenvalues), axis=0)
        return moved, jnp.sum(central.astype(sums.dtype) * sums)
