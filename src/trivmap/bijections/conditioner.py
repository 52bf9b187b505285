"""From the frozen color of a checkerboard to the parameters of a transformation of the active one."""

import abc
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from trivmap._types import Key
from trivmap.bijections.checkerboard import Half, embed, pick
from trivmap.bijections.transformers import AbstractTransformer
from trivmap.lattice import Lattice
from trivmap.networks import ConvolutionLayer, DenseLayer, Network, OddEvenNetwork


class AbstractConditioner(eqx.Module):
    """Parameters p(frozen) of shape (count, *half); with an `OddEvenNetwork` they make the coupling Z2-symmetric."""

    network: eqx.AbstractVar[Network | OddEvenNetwork]

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


class ConvolutionalConditioner(AbstractConditioner):
    """A periodic convolutional network over the frozen field, zero on the active sites.

    Translations by two sites along an axis and by one along a diagonal are symmetries, and the weights serve every
    lattice of the same dimension.
    """

    network: Network | OddEvenNetwork
    active: int = eqx.field(static=True)

    def __init__(
        self,
        lattice: Lattice,
        transformer: AbstractTransformer,
        *,
        active: int,
        hidden: Sequence[int],
        kernel: int,
        activation: str,
        z2: bool,
        dtype: DTypeLike,
        key: Key,
    ):
        self.active = active

        def make(inputs: int, outputs: int, **options) -> ConvolutionLayer:
            return ConvolutionLayer(lattice.dimension, inputs, outputs, kernel, **options)

        if z2:
            self.network = OddEvenNetwork(make, 1, hidden, transformer.parity_counts, activation, dtype=dtype, key=key)
        else:
            self.network = Network(make, 1, hidden, transformer.count, activation, dtype=dtype, key=key)

    def _inputs(self, frozen: Half) -> Array:
        lattice = Lattice((*frozen.shape[:-1], 2 * frozen.shape[-1]))
        return embed(lattice, frozen, 1 - self.active)[..., None]

    def _arrange(self, outputs: Array, frozen: Half) -> Array:
        return pick(Lattice(outputs.shape[:-1]), outputs, self.active)
