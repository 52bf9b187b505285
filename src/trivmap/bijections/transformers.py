"""One-dimensional monotone maps applied site by site: the contract, the additive and the affine one."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

Values = Float[Array, "*sites"]
Parameters = Float[Array, "parameters *sites"]


class AbstractTransformer(eqx.Module):
    """y = g(x; p) at every site, monotone in x; the identity at p = 0.

    `parity_counts` is how many numbers per site, odd and even in the frozen field, the Z2-symmetric form needs;
    `symmetrize` turns them into parameters p(f) with g(-x; p(-f)) = -g(x; p(f)), smoothly.
    """

    @property
    @abc.abstractmethod
    def count(self) -> int:
        """Number of parameters per site."""

    @property
    @abc.abstractmethod
    def parity_counts(self) -> tuple[int, int]:
        """(odd, even) numbers per site that `symmetrize` takes."""

    @abc.abstractmethod
    def symmetrize(self, odd: Float[Array, "odd *sites"], even: Float[Array, "even *sites"]) -> Parameters:
        """Parameters of the Z2-symmetric form."""

    @abc.abstractmethod
    def forward(self, x: Values, p: Parameters) -> tuple[Values, Values]:
        """(y, log dy/dx) at every site."""

    @abc.abstractmethod
    def inverse(self, y: Values, p: Parameters) -> tuple[Values, Values]:
        """(x, log dx/dy) at every site."""


class Additive(AbstractTransformer):
    """y = x + t; Z2: t odd in the frozen field (NICE, arXiv:1410.8516)."""

    @property
    def count(self) -> int:
        return 1

    @property
    def parity_counts(self) -> tuple[int, int]:
        return 1, 0

    def symmetrize(self, odd: Float[Array, "odd *sites"], even: Float[Array, "even *sites"]) -> Parameters:
        return odd

    def forward(self, x: Values, p: Parameters) -> tuple[Values, Values]:
        return x + p[0], jnp.zeros_like(x)

    def inverse(self, y: Values, p: Parameters) -> tuple[Values, Values]:
        return y - p[0], jnp.zeros_like(y)


class Affine(AbstractTransformer):
    """y = x e^s + t; Z2: t odd and s even in the frozen field (real NVP, arXiv:1605.08803; 1904.12072)."""

    @property
    def count(self) -> int:
        return 2

    @property
    def parity_counts(self) -> tuple[int, int]:
        return 1, 1

    def symmetrize(self, odd: Float[Array, "odd *sites"], even: Float[Array, "even *sites"]) -> Parameters:
        return jnp.concatenate([even, odd])

    def forward(self, x: Values, p: Parameters) -> tuple[Values, Values]:
        s, t = jnp.unstack(p)
        return x * jnp.exp(s) + t, s

    def inverse(self, y: Values, p: Parameters) -> tuple[Values, Values]:
        s, t = jnp.unstack(p)
        return (y - t) * jnp.exp(-s), -s
