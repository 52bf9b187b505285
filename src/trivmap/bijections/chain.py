"""Maps applied one after another."""

from collections.abc import Iterator, Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int

from trivmap._types import Field, Scalar, site_sum
from trivmap.actions.symmetry import EVERY, closed
from trivmap.bijections.bijection import AbstractBijection
from trivmap.bijections.coupling import Coupling, CouplingRun
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.support import Support


class Chain(AbstractBijection):
    """f_n o ... o f_1: the field passes through `maps` in their order; an empty chain is the identity."""

    maps: tuple[AbstractBijection, ...]
    lattice: Lattice = eqx.field(static=True)

    def __init__(self, lattice: Lattice, maps: Sequence[AbstractBijection]):
        for position, part in enumerate(maps):
            if part.lattice != lattice:
                raise InputError(
                    f"chain: map {position} lives on lattice {list(part.lattice.shape)}, the chain on "
                    f"{list(lattice.shape)}; they must be the same"
                )
        self.maps, self.lattice = tuple(maps), lattice
        if not self.supports:
            raise InputError("chain: some of its maps act on the even sites alone, others on all; they must agree")

    @property
    def supports(self) -> frozenset[Support]:
        """The supports that all its maps share; every support, if there are no maps."""
        return frozenset(Support).intersection(*(part.supports for part in self.maps))

    @property
    def equivariant_under(self) -> frozenset[str]:
        """The symmetries of all its maps; every symmetry, if there are no maps."""
        return EVERY.intersection(*(closed(part.equivariant_under) for part in self.maps))

    def forward(self, x: Field) -> tuple[Field, Scalar]:
        log_det = site_sum(jnp.zeros_like(x))
        for part in self._parts():
            x, term = part.forward(x)
            log_det = log_det + term
        return x, log_det

    def inverse(self, y: Field) -> tuple[Field, Scalar]:
        log_det = site_sum(jnp.zeros_like(y))
        for part in reversed(self._parts()):
            y, term = part.inverse(y)
            log_det = log_det + term
        return y, log_det

    def forward_with_score(self, x: Field, score: Field) -> tuple[Field, Scalar, Field]:
        log_det = site_sum(jnp.zeros_like(x))
        for part in self._parts():
            x, term, score = part.forward_with_score(x, score)
            log_det = log_det + term
        return x, log_det, score

    def named(self) -> list[str]:
        """The names of the maps in order, as those of the stages."""
        return [_kind(part) for part in self.maps]

    def stages(self, x: Field) -> Iterator[tuple[str, Field, Scalar]]:
        """The stages of each map; a block of couplings is one stage."""
        log_det = site_sum(jnp.zeros_like(x))
        for position, part in enumerate(self.maps):
            parts = [(_kind(part), *part.forward(x))] if isinstance(part, Chain) else part.stages(x)
            before = log_det
            for name, x, term in parts:
                log_det = before + term
                yield f"{position + 1} {name}", x, log_det

    def l2_weights(self) -> "Chain":
        return Chain(self.lattice, [part.l2_weights() for part in self.maps])

    def resize(self, lattice: Lattice) -> "Chain":
        return Chain(lattice, [part.resize(lattice) for part in self.maps])

    def perturbed(self, u: Scalar) -> "Chain":
        return Chain(self.lattice, [part.perturbed(u) for part in self.maps])

    @property
    def integration_steps(self) -> int | Int[Array, ""] | None:
        found = [steps for part in self.maps if (steps := part.integration_steps) is not None]
        # Steps that are only known at run time are the same in all parts.
        return max(found) if all(isinstance(steps, int) for steps in found) and found else next(iter(found), None)

    def with_integration_steps(self, steps: int | Int[Array, ""]) -> "Chain":
        return Chain(self.lattice, [part.with_integration_steps(steps) for part in self.maps])

    def _parts(self) -> list[AbstractBijection]:
        """The maps of this chain and of nested chains, with consecutive couplings joined into one run."""
        parts: list[AbstractBijection] = []
        for part in self._flat():
            if isinstance(part, Coupling) and parts and isinstance(parts[-1], CouplingRun):
                parts[-1] = CouplingRun((*parts[-1].couplings, part))
            else:
                parts.append(CouplingRun((part,)) if isinstance(part, Coupling) else part)
        return parts

    def _flat(self) -> Iterator[AbstractBijection]:
        for part in self.maps:
            if isinstance(part, Chain):
                yield from part._flat()
            else:
                yield part


def _kind(part: AbstractBijection) -> str:
    """The name of a map among the stages; couplings and blocks of couplings have the name of their transformer."""
    if isinstance(part, Chain):
        return " + ".join(dict.fromkeys(_kind(each) for each in part.maps))
    return type(part.transformer if isinstance(part, Coupling) else part).__name__
