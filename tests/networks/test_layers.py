import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.maps import filled
from trivmap import InputError
from trivmap.networks import ConvolutionLayer, DenseLayer

KEY = jax.random.key(0)


def convolution(shape, inputs, outputs, kernel, *, bias=True):
    options = {"bias": bias, "dtype": "float64", "key": KEY}
    layer = filled(lambda: ConvolutionLayer(len(shape), inputs, outputs, kernel, **options), 1.0)
    return layer, jnp.asarray(np.random.default_rng(1).normal(size=(*shape, inputs)))


def by_loops(layer, x, shape):
    """sum_{delta, c'} phi_{c'}(x + delta) W(delta, c', c) + b_c, every displacement in its own turn."""
    reach, inputs = layer.kernel // 2, x.shape[-1]
    displacements = list(itertools.product(range(-reach, reach + 1), repeat=len(shape)))
    weights = np.asarray(layer.weight).reshape(len(displacements), inputs, layer.weight.shape[1])
    total = np.zeros((*shape, layer.weight.shape[1])) + (0.0 if layer.bias is None else np.asarray(layer.bias))
    for displacement, weight in zip(displacements, weights, strict=True):
        shifted = np.roll(np.asarray(x), [-step for step in displacement], axis=tuple(range(len(shape))))
        total += shifted @ weight
    return total


@pytest.mark.parametrize(
    ("shape", "inputs", "outputs", "kernel"),
    [
        ((8,), 2, 3, 3),
        ((6,), 3, 1, 5),
        ((5,), 1, 2, 1),
        ((4, 6), 1, 4, 3),
        ((4, 6), 4, 2, 3),
        ((3, 5), 2, 2, 3),
        ((8, 16), 1, 8, 5),
        ((2, 4, 4), 1, 2, 3),
        ((2, 2), 1, 2, 3),  # both neighbors along an axis are one site
        ((4, 2), 2, 1, 7),  # the kernel winds around the lattice
        ((4, 16), 3, 0, 3),
    ],
)
def test_convolution_is_its_formula(shape, inputs, outputs, kernel):
    layer, x = convolution(shape, inputs, outputs, kernel)
    actual = jax.jit(lambda layer, x: layer(x))(layer, x)
    np.testing.assert_allclose(actual, by_loops(layer, x, shape), atol=1e-12)


def test_convolution_without_bias_is_linear():
    layer, x = convolution((4, 6), 2, 3, 3, bias=False)
    assert layer.bias is None
    np.testing.assert_array_equal(layer(-x), -layer(x))


@pytest.mark.parametrize("kernel", [0, 2, 4, -1])
def test_even_kernels_are_refused(kernel):
    with pytest.raises(InputError, match=rf"^kernel: must be (odd|between 1 and 63).*got {kernel}"):
        ConvolutionLayer(2, 1, 1, kernel, bias=True, dtype="float32", key=KEY)


def test_dense_is_an_affine_map():
    layer = DenseLayer(3, 2, bias=True, dtype="float64", key=KEY)
    x = np.array([0.3, -1.0, 2.0])
    np.testing.assert_allclose(layer(jnp.asarray(x)), x @ np.asarray(layer.weight), atol=1e-15)


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_initial_weights_have_unit_gain(kind):
    """Variance 1/inputs, where a convolution has one input per tap and channel; biases zero."""
    if kind == "dense":
        layer = DenseLayer(100, 50, bias=True, dtype="float32", key=KEY)
    else:
        layer = ConvolutionLayer(2, 4, 139, 5, bias=True, dtype="float32", key=KEY)
    variance = np.var(layer.weight) * layer.weight.shape[0]
    assert variance == pytest.approx(1.0, abs=4 * np.sqrt(2 / layer.weight.size))
    assert layer.weight.dtype == layer.bias.dtype == jnp.float32
    np.testing.assert_array_equal(layer.bias, 0.0)


@pytest.mark.parametrize("bias", [True, False])
def test_the_parts_of_a_dense_layer_are_its_output(bias):
    layer = filled(lambda: DenseLayer(3, 8, bias=bias, dtype="float64", key=KEY), 1.0)
    x = jnp.asarray([0.3, -1.2, 0.7])
    parts = layer.parts(x, 4)
    assert [part.shape for part in parts] == [(2,)] * 4
    np.testing.assert_allclose(np.concatenate(parts), layer(x), rtol=1e-14)
