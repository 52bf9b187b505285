"""The checkerboard coupling."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from trivmap._types import Field, Scalar, site_sum
from trivmap.bijections.bijection import AbstractBijection
from trivmap.bijections.checkerboard import merge, split
from trivmap.bijections.conditioner import AbstractConditioner, ConvolutionalConditioner
from trivmap.bijections.transformers import AbstractTransformer
from trivmap.errors import InputError
from trivmap.lattice import Lattice


class Coupling(AbstractBijection):
    """y_active = g(x_active; p(x_frozen)), y_frozen = x_frozen; `active` is the colour (0 even, 1 odd) that moves.

    log det = sum over active sites of log g'. Z2-equivariant if the conditioner's network has definite parity.
    Raises `InputError` on a lattice without a checkerboard (an odd extent), and for a conditioner made for the other
    colour.
    """

    transformer: AbstractTransformer
    conditioner: AbstractConditioner
    lattice: Lattice = eqx.field(static=True)
    active: int = eqx.field(static=True)

    def __init__(
        self, lattice: Lattice, active: int, transformer: AbstractTransformer, conditioner: AbstractConditioner
    ):
        lattice.require_checkerboard()
        if active not in (0, 1):
            raise InputError(f"coupling.active: must be 0 (even sites move) or 1 (odd sites move), got {active}")
        if isinstance(conditioner, ConvolutionalConditioner) and conditioner.active != active:
            raise InputError(
                f"coupling.active: is {active}, but the conditioner was made for active={conditioner.active}; "
                "they must be the same"
            )
        self.lattice, self.active, self.transformer, self.conditioner = lattice, active, transformer, conditioner

    def forward(self, x: Field) -> tuple[Field, Scalar]:
        moving, frozen = self._split(x)
        moved, log_gradient = self.transformer.forward(moving, self.conditioner(self.transformer, frozen))
        return self._merge(moved, frozen), site_sum(log_gradient)

    def inverse(self, y: Field) -> tuple[Field, Scalar]:
        moved, frozen = self._split(y)
        moving, log_gradient = self.transformer.inverse(moved, self.conditioner(self.transformer, frozen))
        return self._merge(moving, frozen), site_sum(log_gradient)

    def forward_with_score(self, x: Field, score: Field) -> tuple[Field, Scalar, Field]:
        """The new score without the inverse (arXiv:2403.15881): with r = score - d log det/dx,

        s_active = r_active / g', and s_frozen = r_frozen - (dy_active/dx_frozen)^T s_active.
        """
        moving, frozen = self._split(x)
        score_moving, score_frozen = self._split(jax.lax.stop_gradient(score))
        moved, log_gradient = self.transformer.forward(moving, self.conditioner(self.transformer, frozen))

        fixed = jax.lax.stop_gradient(self)
        conditioner = fixed.conditioner
        parameters, pull_conditioner = jax.vjp(
            lambda f: conditioner(fixed.transformer, f), jax.lax.stop_gradient(frozen)
        )
        (_, gradient_log), pull = jax.vjp(fixed.transformer.forward, jax.lax.stop_gradient(moving), parameters)
        ones = jnp.ones_like(moving)
        own, _ = pull((jnp.zeros_like(moving), ones))
        new_moving = (score_moving - own) * jnp.exp(-gradient_log)
        _, through = pull((-new_moving, -ones))
        (change,) = pull_conditioner(through)
        new_score = self._merge(new_moving, score_frozen + change)
        return self._merge(moved, frozen), site_sum(log_gradient), new_score

    def resize(self, lattice: Lattice) -> "Coupling":
        if not isinstance(self.conditioner, ConvolutionalConditioner):
            raise InputError(
                f"coupling: its dense network knows only lattice {list(self.lattice.shape)} and cannot be carried to "
                f"{list(lattice.shape)}; use a convolutional network, or train there from scratch"
            )
        if lattice.dimension != self.lattice.dimension:
            raise InputError(
                f"coupling: its convolutional network of dimension {self.lattice.dimension} cannot be carried to "
                f"{list(lattice.shape)}; name a lattice of the same dimension"
            )
        return Coupling(lattice, self.active, self.transformer, self.conditioner)

    def _split(self, field: Field) -> tuple[Array, Array]:
        """(active, frozen)."""
        even, odd = split(self.lattice, field)
        return (even, odd) if self.active == 0 else (odd, even)

    def _merge(self, moving: Array, frozen: Array) -> Field:
        return merge(self.lattice, *((moving, frozen) if self.active == 0 else (frozen, moving)))
