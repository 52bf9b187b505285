"""The rational-quadratic spline as a transformer."""

from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from trivmap.arguments import Bounds, Positive, bounded
from trivmap.bijections.transformers import AbstractTransformer, Parameters, Values

_SMALLEST = 1e-3
"""Least width and height of a bin, relative to the interval, and least slope: avoids division by 0 in float32."""

Bins = Annotated[int, Bounds(least=2, most=500)]
"""Most bins: the least widths then leave half of the interval to be learned."""

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

    @bounded
    def __init__(self, bins: Bins = 8, interval: Positive = 5.0):
        self.bins, self.interval = bins, float(interval)

    @property
    def count(self) -> int:
        return 3 * self.bins - 1

    @property
    def parity_counts(self) -> tuple[int, int]:
        lengths = (self.bins, self.bins, self.bins - 1)
        return sum(n // 2 for n in lengths), sum((n + 1) // 2 for n in lengths)

    def symmetrize(self, odd: Float[Array, "odd *sites"], even: Float[Array, "even *sites"]) -> Parameters:
        parts = []
        for length in (self.bins, self.bins, self.bins - 1):
            half, center = length // 2, length % 2
            mirrored_even, even = even[: half + center], even[half + center :]
            mirrored_odd, odd = odd[:half], odd[half:]
            parts.append(mirrored_even[:half] + mirrored_odd)
            parts.append(mirrored_even[half:])
            parts.append((mirrored_even[:half] - mirrored_odd)[::-1])
        return jnp.concatenate(parts)

    def forward(self, x: Values, p: Parameters) -> tuple[Values, Values]:
        inside = jnp.abs(x) < self.interval
        left, width, bottom, height, slope, next_slope = self._bin(x, p, by_height=False)
        t = (jnp.where(inside, x, left) - left) / width
        secant = height / width
        y = bottom + height * (secant * t * t + slope * t * (1 - t)) / _denominator(t, secant, slope, next_slope)
        log_gradient = _log_gradient(t, secant, slope, next_slope)
        return jnp.where(inside, y, x), jnp.where(inside, log_gradient, jnp.zeros_like(x))

    def inverse(self, y: Values, p: Parameters) -> tuple[Values, Values]:
        """With r = (y - bottom) / height and h = (slope (1 - r) - next_slope r) / secant, the fraction of the bin is

        t = 2 r / (2 r + h + q) = (q - h) / (q - h + 2 (1 - r)), q^2 = h^2 + 4 r (1 - r). The first form has no
        cancellation for h > 0, the second none for h < 0.
        """
        inside = jnp.abs(y) < self.interval
        left, width, bottom, height, slope, next_slope = self._bin(y, p, by_height=True)
        r = (jnp.where(inside, y, bottom) - bottom) / height
        rest = jnp.where(r < 1, 1 - r, jnp.zeros_like(r))  # rounding may make r larger than 1
        secant = height / width
        h = (slope * rest - next_slope * r) / secant
        q = jnp.abs(h) + jnp.sqrt(h * h + 4 * r * rest)
        t = jnp.where(h > 0, 2 * r, q) / (q + 2 * jnp.where(h > 0, r, rest))
        log_gradient = _log_gradient(t, secant, slope, next_slope)
        return jnp.where(inside, left + t * width, y), jnp.where(inside, -log_gradient, jnp.zeros_like(y))

    def _bin(self, values: Values, p: Parameters, by_height: bool) -> tuple[Values, ...]:
        """(left, width, bottom, height, slope, next slope) of each value's bin; beyond the ends, of the outer bins."""
        widths, heights = self._lengths(p[: self.bins]), self._lengths(p[self.bins : 2 * self.bins])
        slopes = _SMALLEST + (1 - _SMALLEST) * jax.nn.softplus(p[2 * self.bins :] + _UNIT_SOFTPLUS)
        ends = jnp.ones_like(slopes[:1])
        left_knots, bottom_knots = self._knots(widths), self._knots(heights)
        starts = jnp.concatenate([ends, slopes])
        stops = jnp.concatenate([slopes, ends])
        knots = bottom_knots if by_height else left_knots
        # Selecting by comparison is exact and vectorizes; a gather per site does not.
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
        """Left ends of the bins, summed from both ends inwards, so that mirrored lengths give exact antisymmetry."""
        from_left = jnp.cumsum(lengths, axis=0)
        from_right = jnp.cumsum(lengths[::-1], axis=0)[::-1]
        start = jnp.full_like(lengths[:1], -self.interval)
        return jnp.concatenate([start, (from_left[:-1] - from_right[1:]) / 2])


def _denominator(t: Values, secant: Values, slope: Values, next_slope: Values) -> Values:
    return secant + (next_slope + slope - 2 * secant) * t * (1 - t)


def _log_gradient(t: Values, secant: Values, slope: Values, next_slope: Values) -> Values:
    """log dy/dx at the fraction t of a bin."""
    numerator = next_slope * t * t + 2 * secant * t * (1 - t) + slope * (1 - t) ** 2
    ratio = secant / _denominator(t, secant, slope, next_slope)
    return 2 * jnp.log(ratio) + jnp.log(numerator)
