"""The density of one site given its neighbors: exp(-c2 phi^2 - c4 phi^4 + h phi), drawn exactly."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from trivmap._types import Key, draw_normal, draw_uniform
from trivmap.errors import InputError

_NEWTON_STEPS = 5
_MOST_NODES = 301
"""For log Z1."""
_WEAKEST = 1e-30
"""Least nonzero c4 / c2^2: single precision cannot represent smaller numbers."""


class Envelope(NamedTuple):
    """A normal density of this mean and width, times a constant above the site's: they touch at phi^2 = square."""

    mean: Float[Array, "..."]
    width: Float[Array, "..."]
    square: Float[Array, "..."]


@dataclass(frozen=True)
class SiteDensity:
    """p(phi | h) ~ exp(-c2 phi^2 - c4 phi^4 + h phi).

    phi^4 >= 2 a phi^2 - a^2 bounds it by a normal density of precision 2 A, A = c2 + 2 c4 a, around h / 2A; a draw from
    it is accepted with probability exp(-c4 (phi^2 - a)^2). The acceptance is largest if a = <phi^2> of the
    normal density, that is A^3 = c2 A^2 + c4 A + c4 h^2 / 2, which has one positive root for either sign of c2. In a
    deep double well the acceptance is about the width of a well over the distance between the wells.

    Raises `InputError` unless the integral exists: c4 > 0, or c4 = 0 and c2 > 0; and for a c4 that is too small beside
    c2^2 to be distinguished from 0.
    """

    c2: float
    c4: float

    def __post_init__(self):
        for name in ("c2", "c4"):
            # A NumPy number would take part in dtype promotion.
            object.__setattr__(self, name, float(getattr(self, name)))
        if not ((0 < self.c4 < math.inf and math.isfinite(self.c2)) or self.c4 == 0 < self.c2 < math.inf):
            raise InputError(
                f"site density: exp(-c2 phi^2 - c4 phi^4) has an integral only if c4 > 0, or c4 = 0 and c2 > 0; got "
                f"c2={self.c2:g}, c4={self.c4:g}"
            )

        if self.c2 > 0 and 0 < self.c4 / self.c2 / self.c2 < _WEAKEST:
            raise InputError(
                f"site density: the quartic coupling c4={self.c4:g} beside c2={self.c2:g} is too small to be computed "
                "with; give 0"
            )

    @property
    def log_z(self) -> float:
        """log of the integral over phi at h = 0, by Bessel functions of order 1/4: exact to rounding."""
        from scipy.special import gamma, ive, kve  # takes as long to import as all of trivmap

        if self.c4 == 0:
            return 0.5 * math.log(math.pi / self.c2)
        ratio = self.c2 / math.sqrt(self.c4)
        if abs(ratio) < 1e-9:
            integral = 0.5 * (float(gamma(0.25)) - ratio * float(gamma(0.75)))
            return math.log(integral) - 0.25 * math.log(self.c4)
        z, scale = ratio * ratio / 8, 0.5 * math.log(abs(self.c2) / self.c4)
        if z > 1e6:
            # Outside the range of the library's functions: one normal well or two, with their corrections.
            normal = (
                0.5 * math.log(math.pi / self.c2) if self.c2 > 0 else 2 * z + 0.5 * math.log(2 * math.pi / -self.c2)
            )
            return normal + math.log1p(-math.copysign(3.0, self.c2) / (32 * z) + 105 / (2048 * z * z))
        if self.c2 > 0:
            return scale + math.log(float(kve(0.25, z)) / 2)
        wells = math.pi / math.sqrt(8) * float(ive(-0.25, z) + ive(0.25, z))
        return 2 * z + scale + math.log(wells)

    def log_partition(self, h: Float[Array, "..."]) -> Float[Array, "..."]:
        """log Z1(h), Z1 = integral of exp(-c2 phi^2 - c4 phi^4 + h phi); its derivative is <phi> given h.

        Uses the trapezoidal rule on the envelope, with points chosen so that it is exact to rounding for every h.

        Raises `InputError` if the two wells are too narrow for that.
        """

        @jax.custom_jvp
        def value(h: Float[Array, "..."]) -> Float[Array, "..."]:
            return self._log_partition_and_mean(h)[0]

        @value.defjvp
        def derivative(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
            log_partition, mean = self._log_partition_and_mean(*primals)
            return log_partition, mean * tangents[0]

        return value(h)

    def require_quadrature(self) -> None:
        """Raise `InputError` if `log_partition` cannot be computed."""
        if self.c4 > 0:
            self._rule(jnp.float64)

    def envelope(self, h: Float[Array, "..."]) -> Envelope:
        """The tightest normal density above p, for every h."""
        variance = 0.5 / (self._precision * (1 + self._excess(h)))
        mean = h * variance
        return Envelope(mean, jnp.sqrt(variance), mean * mean + variance)

    def log_acceptance(self, envelope: Envelope, phi: Float[Array, "..."]) -> Float[Array, "..."]:
        """log of p / envelope, at most 0: -c4 (phi^2 - a)^2."""
        return -self.c4 * (phi * phi - envelope.square) ** 2

    def sample(self, key: Key, h: Float[Array, "..."]) -> Float[Array, "..."]:
        """An exact draw for every h by rejection, with as many rounds as the slowest site needs."""
        envelope = self.envelope(h)

        def open_sites(state: tuple[Array, Array, Array]) -> Array:
            return jnp.any(state[2])

        def round_of(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            number, phi, missing = state
            proposed, uniform = _draw(jax.random.fold_in(key, number), envelope)
            kept = uniform < jnp.exp(self.log_acceptance(envelope, proposed))
            return number + 1, jnp.where(missing, proposed, phi), missing & ~kept

        start = (jnp.zeros((), jnp.uint32), jnp.zeros_like(h), jnp.ones(h.shape, bool))
        return jax.lax.while_loop(open_sites, round_of, start)[1]

    def update(self, key: Key, h: Float[Array, "..."], phi: Float[Array, "..."]) -> tuple[Array, Array]:
        """(phi', whether it is new): one proposal from the envelope and its Metropolis test, which leaves p invariant.

        It is accepted with probability min(1, r(phi') / r(phi)), r = p / envelope <= 1: at least as often as by
        rejection, whose probability is r(phi').
        """
        envelope = self.envelope(h)
        proposed, uniform = _draw(key, envelope)
        ratio = self.log_acceptance(envelope, proposed) - self.log_acceptance(envelope, phi)
        accepted = uniform < jnp.exp(ratio)
        return jnp.where(accepted, proposed, phi), accepted

    @property
    def _precision(self) -> float:
        """A at h = 0, the positive root of A^2 = c2 A + c4; computed without cancellation."""
        root = math.hypot(self.c2, 2 * math.sqrt(self.c4))
        return (self.c2 + root) / 2 if self.c2 > 0 else 2 * self.c4 / (root - self.c2)

    @property
    def _strength(self) -> float:
        """u = c4 / A^2 at h = 0: between 0 (a normal density) and 1 for c2 > 0, large for two wells."""
        return self.c4 / self._precision / self._precision

    def _excess(self, h: Float[Array, "..."]) -> Float[Array, "..."]:
        """e >= 0 in A = A(h=0) (1 + e): e^3 + (2 + u) e^2 + (1 + u) e = c4 h^2 / 2 A(h=0)^3.

        All terms are positive, so each gives an upper bound on the root, from which Newton's method descends without
        overshooting. The least of the bounds is at most 1.5 times the root.
        """
        u = self._strength
        if u == 0:
            return jnp.zeros_like(h)
        scaled = h * (math.sqrt(u / 2) / math.sqrt(self._precision))
        right = scaled * scaled
        # The cube root from functions that XLA vectorizes.
        bounds = (right / (1 + u), jnp.abs(scaled) / math.sqrt(2 + u), jnp.exp(jnp.log(right) / 3))
        e = jnp.minimum(jnp.minimum(bounds[0], bounds[1]), bounds[2])
        for _ in range(_NEWTON_STEPS):
            e = e - (e * (e * (e + (2 + u)) + (1 + u)) - right) / (e * (3 * e + 2 * (2 + u)) + (1 + u))
        return e

    def _log_partition_and_mean(self, h: Float[Array, "..."]) -> tuple[Array, Array]:
        side = jnp.where(h < 0, -jnp.ones_like(h), jnp.ones_like(h))
        above = 1 + self._excess(h)
        variance = 0.5 / (self._precision * above)
        # phi = width (offset + t): the envelope is exp(-t^2 / 2), and
        # p / envelope is exp(-quartic (t^2 - 1 + 2 offset t)^2).
        width = jnp.sqrt(variance)
        offset, quartic = side * h * width, 0.25 * self._strength / (above * above)
        square = 1 + offset * offset
        top = 0.5 * offset * offset + quartic * square * square + jnp.log(width)
        if self.c4 == 0:
            return top + 0.5 * math.log(2 * math.pi), h * variance
        rule = self._rule(h.dtype)
        nodes = jnp.asarray(rule, h.dtype)

        def add(index: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
            t = nodes[index]
            apart = 2 * t * offset + (t * t - 1)
            weight = jnp.exp(-quartic * apart * apart - 0.5 * t * t)
            return sums[0] + weight, sums[1] + weight * t

        start = (jnp.zeros_like(h), jnp.zeros_like(h))
        total, first = jax.lax.fori_loop(0, len(rule), add, start)
        return top + jnp.log(total * float(rule[1] - rule[0])), side * width * (offset + first / total)

    def _rule(self, dtype: DTypeLike) -> np.ndarray:
        """Equidistant points in units of the envelope's width, with its mean at 0, for h >= 0."""
        nodes = _trapezoidal(self._strength, bool(jnp.finfo(dtype).bits < 64))
        if nodes is None:
            raise InputError(
                f"site density: the wells of c2={self.c2:g}, c4={self.c4:g} are too narrow for {_MOST_NODES} points; "
                "use model.sites: all"
            )
        return nodes


@lru_cache(maxsize=64)
def _trapezoidal(u: float, single: bool) -> np.ndarray | None:
    """The fewest points with which the trapezoidal rule of `SiteDensity` is exact to rounding, None if too many.

    Its integrand depends only on u and e. The error is the difference between rules that are shifted relative to each
    other; it is measured for all e, for the integral and for the mean in units of the envelope's width.
    """
    tolerance = 1e-9 if single else 1e-14
    e = np.concatenate([[0.0], np.logspace(-9, 6, 151)])[:, None]
    offset = np.sqrt((e * e * e + (2 + u) * e * e + (1 + u) * e) / (u * (1 + e)))
    quartic = 0.25 * u / (1 + e) ** 2
    root = np.sqrt(offset**2 + 1)
    peak, other = 1 / (offset + root), -(offset + root)
    spread = 1 / np.sqrt(1 + 8 * quartic * root**2)

    def exponent(t: np.ndarray) -> np.ndarray:
        """log of the integrand divided by its value near the maximum."""
        return 0.5 * peak**2 - 0.5 * t**2 - quartic * (t**2 - 1 + 2 * offset * t) ** 2

    around = spread * np.linspace(-9, 9, 145)
    candidates = np.concatenate([np.linspace(-9, 9, 145) + 0 * e, peak + around, other + around], axis=1)
    inside = candidates[exponent(candidates) > math.log(tolerance / 100)]
    low, high = float(inside.min()), float(inside.max())

    def nodes(spacing: float) -> np.ndarray:
        return spacing * np.arange(math.floor(low / spacing), math.ceil(high / spacing) + 1)

    def error(spacing: float) -> float:
        sums = []
        for shift in (0.0, 0.25, 0.5, 0.75):
            t = nodes(spacing) + shift * spacing
            weight = np.exp(exponent(t))
            total = weight.sum(axis=1)
            sums.append((total * spacing, weight @ t / total))
        totals, means = np.array(sums).transpose(1, 0, 2)
        return float(max(np.ptp(np.log(totals), axis=0).max(), np.ptp(means, axis=0).max()))

    fine, coarse = (high - low) / (_MOST_NODES - 3), 1.0
    if error(fine) > tolerance:
        return None
    while coarse > 1.02 * fine:
        middle = math.sqrt(fine * coarse)
        fine, coarse = (middle, coarse) if error(middle) < tolerance else (fine, middle)
    return nodes(fine)


def _draw(key: Key, envelope: Envelope) -> tuple[Array, Array]:
    """A draw from every envelope, and a uniform number for its accept test."""
    normal_key, uniform_key = jax.random.split(key)
    shape, dtype = envelope.mean.shape, envelope.mean.dtype
    phi = envelope.mean + envelope.width * draw_normal(normal_key, shape, dtype)
    return phi, draw_uniform(uniform_key, shape, dtype)
