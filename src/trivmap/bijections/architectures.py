"""The architectures of the networks in couplings: the settings that all couplings of a stack share."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from jaxtyping import DTypeLike

from trivmap._types import Key
from trivmap.arguments import LayerWidth, OneOf, Width, require_fields
from trivmap.bijections.conditioner import AbstractConditioner, DenseConditioner, FieldConditioner
from trivmap.bijections.transformers import AbstractTransformer
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.networks import ACTIVATIONS, ConvolutionLayer, KernelExtent, Network, OddEvenNetwork

_MOST_TAPS = 2**16
"""Most taps of a convolution, which are written out in the program."""


class AbstractArchitecture(abc.ABC):
    """The networks of couplings: from the frozen color of the checkerboard to the parameters of a transformation.

    To add one: subclass, take the settings in the constructor, and make the conditioner of one coupling in
    `conditioner`. For your own network over the whole lattice, use a `FieldConditioner`.
    """

    @abc.abstractmethod
    def conditioner(
        self, lattice: Lattice, transformer: AbstractTransformer, *, active: int, z2: bool, dtype: DTypeLike, key: Key
    ) -> AbstractConditioner:
        """The conditioner of a coupling that moves the color `active`, zero at the start.

        Args:
            lattice: the lattice.
            transformer: the transformation; it takes `count` numbers per site, or with `z2` its `parity_counts`.
            active: the color that moves, 0 even or 1 odd.
            z2: whether the coupling must be exactly odd.
            dtype: the precision of the parameters.
            key: the key of the initial weights.
        """

    def require_fit(self, lattice: Lattice) -> None:
        """Raise `InputError` if the network would be too large on this lattice; nothing is made."""
        return None


@dataclass(frozen=True)
class DenseNetwork(AbstractArchitecture):
    """Every parameter depends on every frozen site; it works on one lattice only.

    Args:
        hidden: widths of the hidden layers, for example [8, 8] or [1.0V]; `1.0V` is the number of sites
        activation: `tanh`, `asinh`, `arctan`, `sin`, `softsign`, `identity`; `relu`, `leaky-relu`, `elu`, `gelu`,
            `silu`, `softplus`, `sigmoid`; with `z2` the latter cost two passes

    Raises `InputError` for invalid widths or an unknown activation.
    """

    hidden: Sequence[Width]
    activation: Annotated[str, OneOf(ACTIVATIONS)] = "tanh"

    def __post_init__(self):
        object.__setattr__(self, "hidden", tuple(self.hidden))
        require_fields(self)

    def conditioner(
        self, lattice: Lattice, transformer: AbstractTransformer, *, active: int, z2: bool, dtype: DTypeLike, key: Key
    ) -> DenseConditioner:
        hidden = LayerWidth().units(self.hidden, lattice.volume)
        options = {"hidden": hidden, "activation": self.activation, "z2": z2, "dtype": dtype, "key": key}
        return DenseConditioner(lattice, transformer, **options)

    def require_fit(self, lattice: Lattice) -> None:
        LayerWidth().units(self.hidden, lattice.volume)


@dataclass(frozen=True)
class ConvolutionalNetwork(AbstractArchitecture):
    """Periodic convolutions over the frozen field, zero on the active sites.

    Args:
        hidden: channels of the hidden layers, for example [8, 8]
        activation: `tanh`, `asinh`, `arctan`, `sin`, `softsign`, `identity`; `relu`, `leaky-relu`, `elu`, `gelu`,
            `silu`, `softplus`, `sigmoid`; with `z2` the latter cost two passes
        kernel: extent of the kernel in sites, odd

    Raises `InputError` for invalid channels or kernels, or an unknown activation.
    """

    hidden: Sequence[Width]
    activation: Annotated[str, OneOf(ACTIVATIONS)] = "tanh"
    kernel: KernelExtent = 3

    def __post_init__(self):
        object.__setattr__(self, "hidden", tuple(self.hidden))
        require_fields(self)

    def conditioner(
        self, lattice: Lattice, transformer: AbstractTransformer, *, active: int, z2: bool, dtype: DTypeLike, key: Key
    ) -> FieldConditioner:
        def layer(inputs: int, outputs: int, **options) -> ConvolutionLayer:
            return ConvolutionLayer(lattice.dimension, inputs, outputs, self.kernel, **options)

        hidden = LayerWidth().units(self.hidden, lattice.volume)
        if z2:
            network = OddEvenNetwork(layer, 1, hidden, transformer.parity_counts, self.activation, dtype=dtype, key=key)
        else:
            network = Network(layer, 1, hidden, transformer.count, self.activation, dtype=dtype, key=key)
        return FieldConditioner(network, active=active, odd=z2)

    def require_fit(self, lattice: Lattice) -> None:
        LayerWidth().units(self.hidden, lattice.volume)
        if self.kernel**lattice.dimension > _MOST_TAPS:
            raise InputError(
                f"kernel: has {self.kernel}^{lattice.dimension} taps in {lattice.dimension} dimensions; at most "
                f"{_MOST_TAPS}, all are written out"
            )
