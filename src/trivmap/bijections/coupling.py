"""The checkerboard coupling."""

from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp

from trivmap._types import Field, Scalar, site_sum
from trivmap.bijections.bijection import AbstractBijection
from trivmap.bijections.checkerboard import Half, half_shape, merge, split
from trivmap.bijections.conditioner import AbstractConditioner
from trivmap.bijections.transformers import AbstractTransformer
from trivmap.errors import InputError
from trivmap.lattice import Lattice

Halves = tuple[Half, Half]
"""(even, odd)."""


class Coupling(AbstractBijection):
    """y_active = g(x_active; p(x_frozen)), y_frozen = x_frozen; `active` is the color (0 even, 1 odd) that moves.

    log det = sum over active sites of log g'. Z2-equivariant if the conditioner's network has definite parity.
    Raises `InputError` for a lattice without a checkerboard (an odd extent), or a conditioner for the other color.
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
        if conditioner.active not in (None, active):
            raise InputError(
                f"coupling.active: is {active}, but the conditioner was made for active={conditioner.active}; "
                "they must be the same"
            )
        self.lattice, self.active, self.transformer, self.conditioner = lattice, active, transformer, conditioner

    @property
    def equivariant_under(self) -> frozenset[str]:
        return self.conditioner.equivariant_under

    def forward(self, x: Field) -> tuple[Field, Scalar]:
        return CouplingRun((self,)).forward(x)

    def inverse(self, y: Field) -> tuple[Field, Scalar]:
        return CouplingRun((self,)).inverse(y)

    def forward_with_score(self, x: Field, score: Field) -> tuple[Field, Scalar, Field]:
        return CouplingRun((self,)).forward_with_score(x, score)

    def move(self, halves: Halves) -> tuple[Halves, Half]:
        """`forward` on (even, odd), with log g' at every active site."""
        moving, frozen = self._sort(halves)
        moved, log_gradient = self.transformer.forward(moving, self.conditioner(self.transformer, frozen))
        return self._sort((moved, frozen)), log_gradient

    def move_back(self, halves: Halves) -> tuple[Halves, Half]:
        """`inverse` on (even, odd), with -log g' at every active site."""
        moved, frozen = self._sort(halves)
        moving, log_gradient = self.transformer.inverse(moved, self.conditioner(self.transformer, frozen))
        return self._sort((moving, frozen)), log_gradient

    def move_score(self, halves: Halves, score: Halves) -> Halves:
        """The score after `move` from that before, without the inverse (arXiv:2403.15881): with r = s - d log det/dx,

        s_active = r_active / g', and s_frozen = r_frozen - (dy_active/dx_frozen)^T s_active.
        """
        fixed, halves, score = jax.lax.stop_gradient((self, halves, score))
        moving, frozen = self._sort(halves)
        score_moving, score_frozen = self._sort(score)
        parameters, pull_conditioner = jax.vjp(lambda f: fixed.conditioner(fixed.transformer, f), frozen)
        (_, log_gradient), pull = jax.vjp(fixed.transformer.forward, moving, parameters)
        ones = jnp.ones_like(moving)
        own, _ = pull((jnp.zeros_like(moving), ones))
        new_moving = (score_moving - own) * jnp.exp(-log_gradient)
        _, through = pull((-new_moving, -ones))
        (change,) = pull_conditioner(through)
        return self._sort((new_moving, score_frozen + change))

    def stages(self, x: Field) -> Iterator[tuple[str, Field, Scalar]]:
        yield type(self.transformer).__name__, *self.forward(x)

    def resize(self, lattice: Lattice) -> "Coupling":
        return Coupling(lattice, self.active, self.transformer, self.conditioner.resize(self.lattice, lattice))

    def _sort(self, halves: Halves) -> Halves:
        """(even, odd) as (active, frozen), and back."""
        return halves if self.active == 0 else (halves[1], halves[0])


class CouplingRun(AbstractBijection):
    """Couplings one after another: the field is split into its colors once and merged once."""

    couplings: tuple[Coupling, ...]
    lattice: Lattice = eqx.field(static=True)

    def __init__(self, couplings: tuple[Coupling, ...]):
        self.couplings, self.lattice = couplings, couplings[0].lattice

    def forward(self, x: Field) -> tuple[Field, Scalar]:
        halves = self._split(x)
        total = jnp.zeros_like(halves[0])
        for coupling in self.couplings:
            halves, log_gradient = coupling.move(halves)
            total = total + log_gradient
        return self._merge(halves), site_sum(total)

    def inverse(self, y: Field) -> tuple[Field, Scalar]:
        halves = self._split(y)
        total = jnp.zeros_like(halves[0])
        for coupling in reversed(self.couplings):
            halves, log_gradient = coupling.move_back(halves)
            total = total + log_gradient
        return self._merge(halves), site_sum(total)

    def forward_with_score(self, x: Field, score: Field) -> tuple[Field, Scalar, Field]:
        halves, scores = self._split(x), self._split(score)
        total = jnp.zeros_like(halves[0])
        for coupling in self.couplings:
            scores = coupling.move_score(halves, scores)
            halves, log_gradient = coupling.move(halves)
            total = total + log_gradient
        return self._merge(halves), site_sum(total), self._merge(scores)

    def _split(self, x: Field) -> Halves:
        """The colors of a field; they are flat, for long loops, if every network is dense and ignores the geometry."""
        even, odd = split(self.lattice, x)
        if all(coupling.conditioner.flat for coupling in self.couplings):
            return even.ravel(), odd.ravel()
        return even, odd

    def _merge(self, halves: Halves) -> Field:
        shape = half_shape(self.lattice)
        return merge(self.lattice, halves[0].reshape(shape), halves[1].reshape(shape))
