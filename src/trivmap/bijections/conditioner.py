"""Conditioners: the frozen color of a checkerboard gives the parameters for the transformation of the active one."""

import abc
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from trivmap._types import Key
from trivmap.bijections.checkerboard import Half, embed, pick
from trivmap.bijections.transformers import AbstractTransformer
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.networks import DenseLayer, Network, OddEvenNetwork


class AbstractConditioner(eqx.Module):
    """Parameters p(frozen) of shape (count, *half).

    A network whose outputs are a pair (odd, even) in the frozen field makes the coupling Z2-symmetric.
    """

    network: eqx.AbstractVar[Any]

    @property
    @abc.abstractmethod
    def equivariant_under(self) -> frozenset[str]:
        """The symmetries of the parameters, under the names of `AbstractAction.symmetries`."""

    @property
    def active(self) -> int | None:
        """The color whose parameters it gives, 0 even or 1 odd; None if it works for either."""
        return None

    @property
    def flat(self) -> bool:
        """True if it does not use the geometry, and takes a color in any shape, also flat."""
        return False

    def resize(self, old: Lattice, new: Lattice) -> "AbstractConditioner":
        """The same conditioner on another lattice; raises `InputError` if that is not possible."""
        raise InputError(
            f"coupling: its network needs lattice {list(old.shape)} and cannot be carried to {list(new.shape)}; "
            "use a convolutional network, or train there from scratch"
        )

    @abc.abstractmethod
    def _arrange(self, outputs: Array, frozen: Half) -> Array:
        """Network outputs as (channels, *half)."""

    @abc.abstractmethod
    def _inputs(self, frozen: Half) -> Array:
        """The frozen color as the network's input."""

    def __call__(self, transformer: AbstractTransformer, frozen: Half) -> Float[Array, "parameters *half"]:
        outputs = self.network(self._inputs(frozen))
        if isinstance(outputs, tuple):
            odd, even = outputs
            return transformer.symmetrize(self._arrange(odd, frozen), self._arrange(even, frozen))
        return self._arrange(outputs, frozen)


class DenseConditioner(AbstractConditioner):
    """A dense network over all V/2 frozen sites: any dependence, no translation symmetry, one lattice only.

    It takes a color in any shape, also flat.
    """

    network: Network | OddEvenNetwork

    @property
    def equivariant_under(self) -> frozenset[str]:
        return frozenset({"z2"} if isinstance(self.network, OddEvenNetwork) else ())

    @property
    def flat(self) -> bool:
        return True

    def __init__(
        self,
        lattice: Lattice,
        transformer: AbstractTransformer,
        *,
        hidden: Sequence[int],
        activation: str,
        z2: bool,
        dtype: DTypeLike,
        key: Key,
    ):
        sites = lattice.volume // 2
        if z2:
            odd, even = transformer.parity_counts
            outputs = (odd * sites, even * sites)
            self.network = OddEvenNetwork(DenseLayer, sites, hidden, outputs, activation, dtype=dtype, key=key)
        else:
            outputs = transformer.count * sites
            self.network = Network(DenseLayer, sites, hidden, outputs, activation, dtype=dtype, key=key)

    def __call__(self, transformer: AbstractTransformer, frozen: Half) -> Float[Array, "parameters *half"]:
        network = self.network
        if isinstance(network, Network) and isinstance(network.head, DenseLayer) and transformer.count == 2:
            parts = network.head.parts(network.trunk(self._inputs(frozen)), 2)
            return jnp.stack([part.reshape(frozen.shape) for part in parts])
        return super().__call__(transformer, frozen)

    def _inputs(self, frozen: Half) -> Array:
        return frozen.ravel()

    def _arrange(self, outputs: Array, frozen: Half) -> Array:
        return outputs.reshape(-1, *frozen.shape)


class FieldConditioner(AbstractConditioner):
    """A network over the whole lattice, which the frozen field enters, zero on the active sites.

    Args:
        network: maps values of shape (*lattice, 1) to (*lattice, outputs), with `transformer.count` outputs; or to a
            pair (odd, even) of such arrays, with `transformer.parity_counts` outputs, for a Z2-symmetric coupling.
        active: the color that moves, 0 even or 1 odd.
        odd: whether the network returns such a pair.
        local: whether its weights are the same at every site: translations by two sites along an axis and by one along
            a diagonal are then symmetries, and it works on every lattice of the same dimension.
    """

    network: eqx.Module
    color: int = eqx.field(static=True)
    odd: bool = eqx.field(static=True)
    local: bool = eqx.field(static=True)

    def __init__(self, network: eqx.Module, *, active: int, odd: bool, local: bool = True):
        self.network, self.color, self.odd, self.local = network, active, odd, local

    @property
    def active(self) -> int:
        return self.color

    @property
    def equivariant_under(self) -> frozenset[str]:
        return frozenset({"z2"} if self.odd else ()) | ({"even-translations"} if self.local else set())

    def resize(self, old: Lattice, new: Lattice) -> "FieldConditioner":
        if not self.local:
            super().resize(old, new)
        if old.dimension != new.dimension:
            raise InputError(
                f"coupling: its convolutional network of dimension {old.dimension} cannot be carried to "
                f"{list(new.shape)}; name a lattice of the same dimension"
            )
        return self

    def _inputs(self, frozen: Half) -> Array:
        lattice = Lattice((*frozen.shape[:-1], 2 * frozen.shape[-1]))
        return embed(lattice, frozen, 1 - self.active)[..., None]

    def _arrange(self, outputs: Array, frozen: Half) -> Array:
        return pick(Lattice(outputs.shape[:-1]), outputs, self.active)
