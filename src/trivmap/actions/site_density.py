"""The density of one site given its neighbours: exp(-c2 phi^2 - c4 phi^4 + h phi), drawn exactly."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from trivmap._types import Key, draw_normal, draw_uniform
from trivmap.errors import InputError

_NEWTON_STEPS = 6
_MOST_NODES = 150
"""On either side, for log Z1."""


class Envelope(NamedTuple):
    """A normal density of this mean and width, times a constant above the site's: they touch at phi^2 = square."""

    mean: Float[Array, "..."]
    width: Float[Array, "..."]
    square: Float[Array, "..."]


@dataclass(frozen=True)
class SiteDensity:
    """p(phi | h) ~ exp(-c2 phi^2 - c4 phi^4 + h phi).

    phi^4 >= 2 a phi^2 - a^2 bounds it by a normal density of precision 2 A, A = c2 + 2 c4 a, around h / 2A; what is
    drawn from that is kept with probability exp(-c4 (phi^2 - a)^2). The largest acceptance has a = <phi^2> of the
    normal density, that is A^3 = c2 A^2 + c4 A + c4 h^2 / 2, which has one positive root whatever the sign of c2. Any
    other a > -c2 / 2 c4 would be exact too, so that the root need not be. In a deep double well the acceptance is about
    the width of a well over the distance between the two.

    Raises `InputError` unless the integral exists: c4 > 0, or c4 = 0 and c2 > 0.
    """

    c2: float
    c4: float

    def __post_init__(self):
        if not ((0 < self.c4 < math.inf and math.isfinite(self.c2)) or self.c4 == 0 < self.c2 < math.inf):
            raise InputError(
                f"site density: exp(-c2 phi^2 - c4 phi^4) has an integral only if c4 > 0, or c4 = 0 and c2 > 0; got "
                f"c2={self.c2:g}, c4={self.c4:g}"
            )

    @property
    def log_z(self) -> float:
        """log of the integral over phi at h = 0, by the trapezoidal rule: exact to rounding."""
        reach = 1e-3 + (math.sqrt(-self.c2 / (2 * self.c4)) if self.c2 < 0 else 0.0)
        while self.c2 * reach**2 + self.c4 * reach**4 - self._lowest < 60:
            reach *= 1.2
        grid, width = np.linspace(-reach, reach, 4001, retstep=True)
        exponent = self.c2 * grid**2 + self.c4 * grid**4
        return float(np.log(np.sum(np.exp(self._lowest - exponent)) * width) - self._lowest)

    def log_partition(self, h: Float[Array, "..."]) -> Float[Array, "..."]:
        """log Z1(h), Z1 = integral of exp(-c2 phi^2 - c4 phi^4 + h phi); its derivative is <phi> given h.

        By the trapezoidal rule on the envelope, which covers every h: exact to rounding.
        """

        @jax.custom_jvp
        def value(h: Float[Array, "..."]) -> Float[Array, "..."]:
            return self._log_partition_and_mean(h)[0]

        @value.defjvp
        def derivative(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
            log_partition, mean = self._log_partition_and_mean(*primals)
            return log_partition, mean * tangents[0]

        return value(h)

    def envelope(self, h: Float[Array, "..."]) -> Envelope:
        """The tightest normal density above p, for every h."""
        c2, c4 = self.c2, self.c4
        if c4 == 0:
            return Envelope(h / (2 * c2), jnp.full_like(h, 1 / math.sqrt(2 * c2)), jnp.zeros_like(h))
        quadratic = 0.5 * c4 * h * h
        # Above the root the cubic is convex, and Newton's method descends to it without overshooting. Above it lies
        # c2 + sqrt(c4) + (c4 h^2 / 2)^(1/3), whose cube root is here bounded by the arithmetic mean.
        root = math.sqrt(c4)
        a = (max(c2, 0.0) + 4 / 3 * root) + math.sqrt(2 * root) / 3 * jnp.abs(h)
        if c2 < 0:
            a = jnp.minimum(a, c4 / -c2 + math.sqrt(c4 / (-2 * c2)) * jnp.abs(h))
        for _ in range(_NEWTON_STEPS):
            a = a - (a * (a * (a - c2) - c4) - quadratic) / (a * (3 * a - 2 * c2) - c4)
        return Envelope(h / (2 * a), jax.lax.rsqrt(2 * a), (a - c2) / (2 * c4))

    def log_acceptance(self, envelope: Envelope, phi: Float[Array, "..."]) -> Float[Array, "..."]:
        """log of p / envelope, at most 0: -c4 (phi^2 - a)^2."""
        return -self.c4 * (phi * phi - envelope.square) ** 2

    def sample(self, key: Key, h: Float[Array, "..."]) -> Float[Array, "..."]:
        """An exact draw for every h, by rejection: as many rounds as the slowest site needs."""
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
        """(phi', whether it is new): one proposal from the envelope and its Metropolis test, which leaves p as it is.

        It is accepted with probability min(1, r(phi') / r(phi)), r = p / envelope <= 1: at least as often as by
        rejection, whose probability is r(phi').
        """
        envelope = self.envelope(h)
        proposed, uniform = _draw(key, envelope)
        ratio = self.log_acceptance(envelope, proposed) - self.log_acceptance(envelope, phi)
        accepted = uniform < jnp.exp(ratio)
        return jnp.where(accepted, proposed, phi), accepted

    def _log_partition_and_mean(self, h: Float[Array, "..."]) -> tuple[Array, Array]:
        mean, width, square = self.envelope(h)
        nodes = jnp.asarray(self._nodes, h.dtype)

        def add(index: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
            t = nodes[index]
            phi = mean + t * width
            weight = jnp.exp(-0.5 * t * t - self.c4 * (phi * phi - square) ** 2)
            return sums[0] + weight, sums[1] + weight * phi

        start = (jnp.zeros_like(h), jnp.zeros_like(h))
        total, first = jax.lax.fori_loop(0, len(self._nodes), add, start)
        # The height of the envelope above exp(-c2 phi^2 - c4 phi^4 + h phi) is here in units of its maximum.
        top = 0.5 * h * mean + self.c4 * square * square + jnp.log(width * float(self._nodes[1] - self._nodes[0]))
        return top + jnp.log(total), first / total

    @cached_property
    def _nodes(self) -> np.ndarray:
        """Points in units of the envelope's width, its mean at 0, that resolve p for every h."""
        spacing = 0.25
        if self.c2 < 0:
            # At h = 0 the wells, of curvature -4 c2, are narrowest against the envelope, of precision 2 A.
            precision = self.c2 + math.sqrt(self.c2**2 + 4 * self.c4)
            spacing *= min(1.0, math.sqrt(3 * precision / (-4 * self.c2)))
        half = math.ceil(7.5 / spacing)
        if half > _MOST_NODES:
            raise InputError(
                f"site density: the wells of c2={self.c2:g}, c4={self.c4:g} are too narrow for {_MOST_NODES} points; "
                "use model.sites: all"
            )
        return spacing * np.arange(-half, half + 1)

    @property
    def _lowest(self) -> float:
        """The least c2 phi^2 + c4 phi^4."""
        return -(self.c2**2) / (4 * self.c4) if self.c2 < 0 else 0.0


def _draw(key: Key, envelope: Envelope) -> tuple[Array, Array]:
    """A draw from every envelope, and a uniform number to decide on it."""
    normal_key, uniform_key = jax.random.split(key)
    shape, dtype = envelope.mean.shape, envelope.mean.dtype
    phi = envelope.mean + envelope.width * draw_normal(normal_key, shape, dtype)
    return phi, draw_uniform(uniform_key, shape, dtype)
