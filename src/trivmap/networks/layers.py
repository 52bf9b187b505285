"""Affine layers: dense, and convolutional on a periodic lattice of any dimension."""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from trivmap._types import Key
from trivmap.errors import InputError


class DenseLayer(eqx.Module):
    """y = x W + b for x of shape (inputs,).

    Initialised LeCun-normal (variance 1/inputs), or at zero if `zero`.
    """

    weight: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"] | None

    def __init__(self, inputs: int, outputs: int, *, bias: bool, zero: bool = False, dtype: DTypeLike, key: Key):
        scale = 0.0 if zero else 1 / math.sqrt(inputs)
        self.weight = jax.random.normal(key, (inputs, outputs), dtype) * scale
        self.bias = jnp.zeros(outputs, dtype) if bias else None

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        y = x @ self.weight
        return y if self.bias is None else y + self.bias


class ConvolutionLayer(eqx.Module):
    """y_c(x) = sum_{delta, c'} phi_{c'}(x + delta) W(delta, c', c) + b_c, periodic, |delta_mu| <= (kernel - 1) / 2.

    Input of shape (*lattice, inputs), output (*lattice, outputs), for a lattice of any dimension. The shifted copies
    are stacked along the channels and mixed by one matrix product: several times faster on CPU than a convolution
    with few channels. Raises `InputError` for an even kernel.
    """

    weight: Float[Array, "taps_inputs outputs"]
    bias: Float[Array, " outputs"] | None
    kernel: int = eqx.field(static=True)

    def __init__(
        self,
        dimension: int,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        bias: bool,
        zero: bool = False,
        dtype: DTypeLike,
        key: Key,
    ):
        if kernel < 1 or kernel % 2 == 0:
            raise InputError(f"network.kernel: must be odd and positive so that it has a centre, got {kernel}")
        taps = kernel**dimension * inputs
        scale = 0.0 if zero else 1 / math.sqrt(taps)
        self.weight = jax.random.normal(key, (taps, outputs), dtype) * scale
        self.bias = jnp.zeros(outputs, dtype) if bias else None
        self.kernel = kernel

    def __call__(self, x: Float[Array, "*lattice inputs"]) -> Float[Array, "*lattice outputs"]:
        lattice = x.shape[:-1]
        reach = self.kernel // 2
        padded = jnp.pad(x, [(reach, reach)] * len(lattice) + [(0, 0)], mode="wrap")
        patches = [
            padded[tuple(slice(start, start + extent) for start, extent in zip(shift, lattice, strict=True))]
            for shift in itertools.product(range(self.kernel), repeat=len(lattice))
        ]
        y = jnp.concatenate(patches, axis=-1) @ self.weight
        return y if self.bias is None else y + jnp.broadcast_to(self.bias, y.shape)
