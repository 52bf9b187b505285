"""Checkerboard couplings in a row, as architectures use them."""

from collections.abc import Sequence

import jax
from jaxtyping import DTypeLike

from trivmap._types import Key
from trivmap.bijections.chain import Chain
from trivmap.bijections.conditioner import ConvolutionalConditioner, DenseConditioner
from trivmap.bijections.coupling import Coupling
from trivmap.bijections.transformers import AbstractTransformer
from trivmap.lattice import Lattice


def couplings(
    lattice: Lattice,
    transformer: AbstractTransformer,
    count: int,
    *,
    hidden: Sequence[int],
    kernel: int | None = 3,
    activation: str = "tanh",
    z2: bool = True,
    dtype: DTypeLike,
    key: Key,
) -> list[Chain]:
    """`count` couplings, even sites first and then alternating, each with a network of its own, two to a `Chain`.

    The networks are convolutional with the given `kernel`, or dense for `kernel=None`; `hidden` are the widths of their
    hidden layers in channels or units. With `z2` every coupling is exactly odd. The stack is the identity at the start.
    """

    def coupling(index: int) -> Coupling:
        active, network_key = index % 2, jax.random.fold_in(key, index)
        options = {"hidden": hidden, "activation": activation, "z2": z2, "dtype": dtype, "key": network_key}
        if kernel is None:
            return Coupling(lattice, active, transformer, DenseConditioner(lattice, transformer, **options))
        conditioner = ConvolutionalConditioner(lattice, transformer, active=active, kernel=kernel, **options)
        return Coupling(lattice, active, transformer, conditioner)

    made = [coupling(index) for index in range(count)]
    return [Chain(lattice, made[start : start + 2]) for start in range(0, count, 2)]
