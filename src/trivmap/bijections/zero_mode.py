"""A monotone map of the magnetization."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from trivmap._types import Field, Scalar, changed, site_sum
from trivmap.actions.symmetry import EVERY
from trivmap.arguments import Positive, bounded
from trivmap.bijections.bijection import AbstractBijection
from trivmap.bijections.spline import Bins, Spline
from trivmap.lattice import Lattice


class ZeroMode(AbstractBijection):
    """y = x + g(m) - m with m = mean of x and g a monotone spline on [-interval, interval]; log det = log g'(m).

    The other Fourier modes do not move. With `z2`, g is exactly odd. It starts at the identity. It can turn one peak of
    P(m) into two, which couplings cannot do smoothly.

    Args:
        lattice: the lattice.
        bins: bins of the spline, from 2 to 500
        interval: it acts for |m| < interval; in units of the field
        z2: exactly odd
        dtype: the precision of the parameters.

    Raises `InputError` for bins or an interval out of bounds.
    """

    odd: Float[Array, " odd"] | None
    even: Float[Array, " even"]
    spline: Spline
    lattice: Lattice = eqx.field(static=True)

    @bounded
    def __init__(
        self, lattice: Lattice, *, bins: Bins = 16, interval: Positive = 3.0, z2: bool = True, dtype: DTypeLike
    ):
        self.lattice, self.spline = lattice, Spline(bins, interval)
        odd, even = self.spline.parity_counts
        self.odd = None if z2 else jnp.zeros(odd, dtype)
        self.even = jnp.zeros(even, dtype)

    @property
    def equivariant_under(self) -> frozenset[str]:
        return EVERY if self.odd is None else EVERY - {"z2"}

    def forward(self, x: Field) -> tuple[Field, Scalar]:
        mean = jnp.mean(x)
        moved, log_gradient = self.spline.forward(mean, self._parameters())
        return x + (moved - mean), site_sum(log_gradient)

    def inverse(self, y: Field) -> tuple[Field, Scalar]:
        mean = jnp.mean(y)
        moved, log_gradient = self.spline.inverse(mean, self._parameters())
        return y + (moved - mean), site_sum(log_gradient)

    def forward_with_score(self, x: Field, score: Field) -> tuple[Field, Scalar, Field]:
        """The Jacobian 1 + (g' - 1) / V is symmetric and acts only on the zero mode: with r = score - d log g'(m)/dx,

        s_y = r - mean(r) (1 - 1/g').
        """
        y, log_det = self.forward(x)
        fixed = jax.lax.stop_gradient(self)
        mean = jax.lax.stop_gradient(jnp.mean(x))
        log_gradient, slope = jax.value_and_grad(lambda m: fixed.spline.forward(m, fixed._parameters())[1])(mean)
        rest = jax.lax.stop_gradient(score) - slope / self.lattice.volume
        return y, log_det, rest + jnp.mean(rest) * jnp.expm1(-log_gradient)

    def resize(self, lattice: Lattice) -> "ZeroMode":
        return changed(self, lattice=lattice)

    def _parameters(self) -> Float[Array, " parameters"]:
        odd = jnp.zeros(self.spline.parity_counts[0], self.even.dtype) if self.odd is None else self.odd
        return self.spline.symmetrize(odd, self.even)
