"""Affine layers: dense, and convolutional on a periodic lattice of any dimension."""

import functools
import math
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from trivmap._types import Key
from trivmap.arguments import Bounds, Odd, bounded

KernelExtent = Annotated[int, Bounds(least=1, most=63), Odd()]
"""Most taps of a convolution, which are all written out in the program."""


class DenseLayer(eqx.Module):
    """y = x W + b for x of shape (inputs,).

    Initialized LeCun-normal (variance 1/inputs), or at zero if `zero`.
    """

    weight: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"] | None

    def __init__(self, inputs: int, outputs: int, *, bias: bool, zero: bool = False, dtype: DTypeLike, key: Key):
        scale = 0.0 if zero else 1 / math.sqrt(inputs)
        self.weight = jax.random.normal(key, (inputs, outputs), dtype) * scale
        self.bias = jnp.zeros(outputs, dtype) if bias else None

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        (y,) = self.parts(x, 1)
        return y

    def parts(self, x: Float[Array, " inputs"], count: int) -> list[Float[Array, " part"]]:
        """y in `count` pieces of equal length, each a product of its own.

        If the pieces are used in different ways, this avoids on a CPU that their gradients are interleaved in one
        array.
        """
        sizes = [self.weight.shape[1] // count] * count
        parts = [x @ weight for weight in jax.lax.split(self.weight, sizes, axis=1)]
        if self.bias is None:
            return parts
        return [part + bias for part, bias in zip(parts, jax.lax.split(self.bias, sizes), strict=True)]


class ConvolutionLayer(eqx.Module):
    """y_c(x) = sum_{delta, c'} phi_{c'}(x + delta) W(delta, c', c) + b_c, periodic, |delta_mu| <= (kernel - 1) / 2.

    Input of shape (*lattice, inputs), output (*lattice, outputs), for a lattice of any dimension. It is one matrix
    product over blocks of neighboring sites of the last axis: the matrix is wide enough for the processor, at the price
    of some zeros in it, and blocks overlap less than the neighborhoods of single sites. On a CPU it is several times
    faster than a convolution with few channels. Raises `InputError` for an even kernel, and beyond 63 sites.
    """

    weight: Float[Array, "taps_inputs outputs"]
    bias: Float[Array, " outputs"] | None
    kernel: int = eqx.field(static=True)

    @bounded
    def __init__(
        self,
        dimension: int,
        inputs: int,
        outputs: int,
        kernel: KernelExtent,
        *,
        bias: bool,
        zero: bool = False,
        dtype: DTypeLike,
        key: Key,
    ):
        taps = kernel**dimension * inputs
        scale = 0.0 if zero else 1 / math.sqrt(taps)
        self.weight = jax.random.normal(key, (taps, outputs), dtype) * scale
        self.bias = jnp.zeros(outputs, dtype) if bias else None
        self.kernel = kernel

    def __call__(self, x: Float[Array, "*lattice inputs"]) -> Float[Array, "*lattice outputs"]:
        *rows, extent, inputs = x.shape
        outputs, shifts = self.weight.shape[1], self.kernel ** len(rows)
        weight = self.weight.reshape(shifts, self.kernel, inputs, outputs)
        # Shifted copies along the other axes cost memory traffic, so they are made of the smaller of input and output.
        gather = inputs < outputs
        block = _block(extent, self.kernel, outputs if gather else outputs * shifts)
        windows = self._windows(x, block)
        band = jnp.asarray(_band(extent, self.kernel, block), x.dtype)
        if gather:
            matrix = jnp.einsum("dio,sdab->obsia", band, weight)
            matrix = matrix.reshape(block * outputs, shifts * windows.shape[-1])
            y = _apply(matrix, jnp.concatenate(self._shifted(windows), axis=-1))
        else:
            matrix = jnp.einsum("dio,sdab->sobia", band, weight)
            matrix = matrix.reshape(shifts * block * outputs, windows.shape[-1])
            y = self._shift_and_add(_apply(matrix, windows))
        y = y.reshape(*rows, extent, outputs)
        return y if self.bias is None else y + jnp.broadcast_to(self.bias, y.shape)

    def _windows(self, x: Array, block: int) -> Float[Array, "*rows blocks window"]:
        """For each block of sites of the last axis, the sites that it depends on, with their channels."""
        *rows, extent, inputs = x.shape
        blocks, reach = extent // block, self.kernel // 2
        if blocks == 1:
            return x.reshape(*rows, 1, extent * inputs)
        x = x.reshape(*rows, blocks, block * inputs)
        if reach == 0:
            return x
        # Split and concatenate are transposes of each other; the transpose of slices is a sum of padded arrays.
        halo = reach * inputs
        if 2 * reach <= block:
            left, middle, right = jax.lax.split(x, (halo, (block - 2 * reach) * inputs, halo), axis=x.ndim - 1)
            parts = [left, middle, right]
        else:
            left, right, parts = x[..., :halo], x[..., -halo:], [x]
        return jnp.concatenate([jnp.roll(right, 1, axis=-2), *parts, jnp.roll(left, -1, axis=-2)], axis=-1)

    def _shifted(self, x: Array) -> list[Array]:
        """x(r + delta) for every delta of the other axes, in the order of the weights."""
        copies, reach = [x], self.kernel // 2
        for axis in range(x.ndim - 2):
            copies = [jnp.roll(copy, -shift, axis) for copy in copies for shift in range(-reach, reach + 1)]
        return copies

    def _shift_and_add(self, x: Float[Array, "*rows blocks shifts_columns"]) -> Float[Array, "*rows blocks columns"]:
        """sum_delta x(r + delta; delta), the shift delta of the other axes in the order of the weights."""
        reach = self.kernel // 2
        for axis in range(x.ndim - 2):
            terms = jax.lax.split(x, [x.shape[-1] // self.kernel] * self.kernel, axis=x.ndim - 1)
            shifted = [
                jnp.roll(term, -shift, axis) for shift, term in zip(range(-reach, reach + 1), terms, strict=True)
            ]
            x = functools.reduce(jnp.add, shifted)
        return x


def _apply(matrix: Float[Array, "outputs inputs"], x: Float[Array, "*sites inputs"]) -> Float[Array, "*sites outputs"]:
    """y = M x. With the outputs first, XLA forms the gradient of M, a sum over batch and sites, twice as fast."""
    return jax.lax.dot_general(x, matrix, (((x.ndim - 1,), (1,)), ((), ())))


def _block(extent: int, kernel: int, columns: int) -> int:
    """The smallest divisor of `extent` for which the matrix has 48 columns or more, from the columns per site."""
    for block in range(max(1, kernel // 2), extent // 2 + 1):
        if extent % block == 0 and block * columns >= 48:
            return block
    return extent


def _band(extent: int, kernel: int, block: int) -> Float[np.ndarray, "kernel window block"]:
    """1 if input site i of a window is at displacement d from output site o of its block, otherwise 0."""
    reach = kernel // 2
    displacement, site = np.indices((kernel, block))
    if block == extent:
        band = np.zeros((kernel, extent, extent))
        np.add.at(band, (displacement, (site + displacement - reach) % extent, site), 1.0)
    else:
        band = np.zeros((kernel, block + 2 * reach, block))
        band[displacement, site + displacement, site] = 1.0
    return band
