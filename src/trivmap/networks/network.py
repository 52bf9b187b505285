"""Networks that turn the frozen field of a coupling into the parameters of its transformation."""

import reprlib
from collections.abc import Callable, Sequence
from itertools import pairwise

import equinox as eqx
import jax
from jaxtyping import Array, DTypeLike, Float

from trivmap._types import Key
from trivmap.errors import InputError
from trivmap.networks.activations import ODD, activation
from trivmap.networks.layers import ConvolutionLayer, DenseLayer

MakeLayer = Callable[..., DenseLayer | ConvolutionLayer]
"""(inputs, outputs, bias=, zero=, dtype=, key=) -> layer: `DenseLayer`, or `ConvolutionLayer` with a fixed kernel."""


class _Trunk(eqx.Module):
    """Layers, each followed by the activation."""

    layers: tuple[DenseLayer | ConvolutionLayer, ...]
    activation: str = eqx.field(static=True)

    def __call__(self, x: Array) -> Array:
        function = activation(self.activation)
        for layer in self.layers:
            x = function(layer(x))
        return x


def _trunk(make: MakeLayer, sizes: Sequence[int], name: str, bias: bool, dtype: DTypeLike, key: Key) -> _Trunk:
    activation(name)
    if min(sizes) < 1:
        raise InputError(f"network.hidden: every width must be at least 1, got {reprlib.repr(list(sizes[1:]))}")
    keys = jax.random.split(key, len(sizes))
    layers = [make(n, m, bias=bias, dtype=dtype, key=k) for (n, m), k in zip(pairwise(sizes), keys[1:], strict=True)]
    return _Trunk(tuple(layers), name)


class Network(eqx.Module):
    """A plain network: hidden layers, then a linear layer that starts at zero."""

    trunk: _Trunk
    head: DenseLayer | ConvolutionLayer

    def __init__(
        self,
        make: MakeLayer,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        activation: str,
        *,
        dtype: DTypeLike,
        key: Key,
    ):
        sizes = (inputs, *hidden)
        trunk_key, head_key = jax.random.split(key)
        self.trunk = _trunk(make, sizes, activation, True, dtype, trunk_key)
        self.head = make(sizes[-1], outputs, bias=True, zero=True, dtype=dtype, key=head_key)

    def __call__(self, x: Float[Array, "*sites inputs"]) -> Float[Array, "*sites outputs"]:
        return self.head(self.trunk(x))


class OddEvenNetwork(eqx.Module):
    """Outputs (o, e) with o(-x) = -o(x) and e(-x) = e(x) exactly, both smooth if the activation is.

    With an odd activation the hidden layers have no biases, so that their values h are odd: o is linear in h and e
    affine in h^2, at the cost of one pass. With any other activation, o and e are linear in (h(x) -+ h(-x)) / 2, at the
    cost of two passes.
    The output layers start at zero.
    """

    trunk: _Trunk
    odd: DenseLayer | ConvolutionLayer
    even: DenseLayer | ConvolutionLayer

    def __init__(
        self,
        make: MakeLayer,
        inputs: int,
        hidden: Sequence[int],
        outputs: tuple[int, int],
        activation: str,
        *,
        dtype: DTypeLike,
        key: Key,
    ):
        sizes = (inputs, *hidden)
        keys = jax.random.split(key, 3)
        self.trunk = _trunk(make, sizes, activation, activation not in ODD, dtype, keys[0])
        self.odd = make(sizes[-1], outputs[0], bias=False, zero=True, dtype=dtype, key=keys[1])
        self.even = make(sizes[-1], outputs[1], bias=True, zero=True, dtype=dtype, key=keys[2])

    def __call__(
        self, x: Float[Array, "*sites inputs"]
    ) -> tuple[Float[Array, "*sites odd"], Float[Array, "*sites even"]]:
        h = self.trunk(x)
        if self.trunk.activation in ODD:
            return self.odd(h), self.even(h * h)
        mirrored = self.trunk(-x)
        return self.odd((h - mirrored) / 2), self.even((h + mirrored) / 2)
