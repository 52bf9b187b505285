"""The rational-quadratic spline as a transformer."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from trivmap.bijections.transformers import AbstractTransformer, Parameters, Values
from trivmap.errors import InputError

_SMALLEST = 1e-3
"""Least width and height of a bin, relative to the interval, and least slope: keeps float32 away from division by 0."""

_MOST_BINS = 500
"""Leaves half of the interval to the shares that can be learnt."""

_UNIT_SOFTPLUS = 0.5413248546129181
"""softplus(0.5413...) = 1: slope parameters of zero give slope one."""


class Spline(AbstractTransformer):
    """Monotone rational-quadratic spline, `bins` bins on [-interval, interval], identity outside (arXiv:1906.04032).

    Parameters per site: widths (bins), heights (bins), slopes at the interior knots (bins - 1); the slope at both ends
    is 1, so that map and derivative are continuous. Z2: with reversal R of the bins, p = (1 + R) even + (1 - R) odd, so
    p(-f) = R p(f), hence g(-x; p(-f)) = -g(x; p(f)).

    Raises `InputError` unless 2 <= bins <= 500 and the interval is positive and finite.
    """

    bins: int = eqx.field(static=True)
    interval: float = eqx.field(static=True)

    def __init__(self, bins: int, interval: float):
        if not 2 <= bins <= _MOST_BINS:
            raise InputError(f"spline.bins: must be from 2 to {_MOST_BINS}, got {bins}")
        if not 0 < interval < math.inf:
            raise InputError(f"spline.interval: must be positive and finite, got {interval}")
        self.bins, self.interval = bins, float(interval)

    @property
    def count(self) -> int:
        return 3 * self.bins - 1

    @property
    def parity_counts(self) -> tuple[int, int]:
        lengths = (self.bins, self.bins, self.bins - 1)
        return sum(n // 2 for n in lengths), sum((n + 1) // 2 for n in lengths)

    def symmetrise(self, odd: Float[Array, "odd *sites"], even: Float[Array, "even *sites"]) -> Parameters:
        parts = []
        for length in (self.bins, self.bins, self.bins - 1):
            half, centre = length // 2, length % 2
            mirrored_even, even = even[: half + centre], even[half + centre :]
            mirrored_odd, odd = odd[:half], odd[half:]
            parts.append(mirrored_even[:half] + mirrored_odd)
            parts.append(mirrored_even[half:])
            parts.append((mirrored_even[:half] - mirrored_odd)[::-1])
        return jnp.concatenate(parts)

    def forward(self, x: Values, p: Parameters) -> tuple[Values, Values]:
        left, width, bottom, height, slope, next_slope = self._bin(x, p, by_height=False)
        inside = jnp.abs(x) < self.interval
        t = jnp.clip((x - left) / width, 0.0, 1.0)
        secant = height / width
        u = t * (1 - t)
        denominator = secant + (next_slope + slope - 2 * secant) * u
        y = bottom + height * (secant * t * t + slope * u) / denominator
        numerator = next_slope * t * t + 2 * secant * u + slope * (1 - t) ** 2
        log_gradient = 2 * (jnp.log(secant) - jnp.log(denominator)) + jnp.log(numerator)
        return jnp.where(inside, y, x), jnp.where(inside, log_gradient, jnp.zeros_like(x))

    def inverse(self, y: Values, p: Parameters) -> tuple[Values, Values]:
        left, width, bottom, height, slope, next_slope = self._bin(y, p, by_height=True)
        inside = jnp.abs(y) < self.interval
        secant = height / width
        rise = jnp.clip(y - bottom, jnp.zeros_like(height), height)
        curvature = next_slope + slope - 2 * secant
        a = height * (secant - slope) + rise * curvature
        b = height * slope - rise * curvature
        c = -secant * rise
        # The root formula without cancellation; b > 0 on the bin, so the denominator does not vanish.
        t = 2 * -c / (b + jnp.sqrt(jnp.maximum(b * b - 4 * a * c, 0.0)))
        x = left + jnp.clip(t, 0.0, 1.0) * width
        x = jnp.where(inside, x, y)
        return x, -self.forward(x, p)[1]

    def _bin(self, values: Values, p: Parameters, by_height: bool) -> tuple[Values, ...]:
        """(left, width, bottom, height, slope, next slope) of the bin of each value; the outer bins beyond the ends."""
        widths, heights = self._lengths(p[: self.bins]), self._lengths(p[self.bins : 2 * self.bins])
        slopes = _SMALLEST + (1 - _SMALLEST) * jax.nn.softplus(p[2 * self.bins :] + _UNIT_SOFTPLUS)
        ends = jnp.ones_like(slopes[:1])
        left_knots, bottom_knots = self._knots(widths), self._knots(heights)
        starts = jnp.concatenate([ends, slopes])
        stops = jnp.concatenate([slopes, ends])
        knots = bottom_knots if by_height else left_knots
        # Selecting by comparison is exact and vectorises; a gather per site does not.
        above = values[None] >= knots[1:]
        none, every = jnp.zeros_like(above[:1]), jnp.ones_like(above[:1])
        chosen = jnp.concatenate([every, above]) & ~jnp.concatenate([above, none])

        def pick(table: Array) -> Array:
            return jnp.sum(jnp.where(chosen, table, jnp.zeros_like(table)), axis=0)

        return pick(left_knots), pick(widths), pick(bottom_knots), pick(heights), pick(starts), pick(stops)

    def _lengths(self, logits: Array) -> Array:
        shares = jax.nn.softmax(logits, axis=0)
        return 2 * self.interval * (_SMALLEST + (1 - _SMALLEST * self.bins) * shares)

    def _knots(self, lengths: Array) -> Array:
        """Left ends of the bins. Summed from both ends inwards: exactly antisymmetric for mirrored lengths."""
        from_left = jnp.cumsum(lengths, axis=0)
        from_right = jnp.cumsum(lengths[::-1], axis=0)[::-1]
        start = jnp.full_like(lengths[:1], -self.interval)
        return jnp.concatenate([start, (from_left[:-1] - from_right[1:]) / 2])
