import itertools
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.maps import filled
from trivmap import InputError
from trivmap.networks import ACTIVATIONS, ConvolutionLayer, DenseLayer, Network, OddEvenNetwork
from trivmap.networks.activations import ODD, activation

KEY = jax.random.key(0)


def conv(inputs, outputs, **options):
    return ConvolutionLayer(1, inputs, outputs, 3, **options)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_networks_of_definite_parity_are_exactly_odd_and_even(name):
    network = filled(lambda: OddEvenNetwork(DenseLayer, 4, (3,), (2, 5), name, dtype="float64", key=KEY), 1.0)
    x = jnp.asarray(np.random.default_rng(2).normal(size=4))
    outputs = jax.jit(lambda network, x: (network(x), network(-x)))
    (odd, even), (mirrored_odd, mirrored_even) = outputs(network, x)
    np.testing.assert_allclose(mirrored_odd, -odd, rtol=1e-14)
    np.testing.assert_allclose(mirrored_even, even, rtol=1e-14)
    assert np.min(np.abs(odd)) > 1e-3
    # The even output depends on the field, beyond its bias.
    assert np.min(np.abs(even - network.even.bias)) > 1e-3


@pytest.mark.parametrize("name", ODD)
def test_functions_listed_as_odd_are_odd(name):
    x = jnp.linspace(-5.0, 5.0, 41)
    np.testing.assert_array_equal(activation(name)(-x), -activation(name)(x))


def test_odd_activations_need_one_pass_without_hidden_biases():
    network = OddEvenNetwork(DenseLayer, 4, (3, 3), (2, 5), "tanh", dtype="float32", key=KEY)
    assert all(layer.bias is None for layer in network.trunk.layers)
    assert all(layer.bias is not None for layer in two_pass().trunk.layers)


def two_pass():
    return OddEvenNetwork(DenseLayer, 4, (3, 3), (2, 5), "gelu", dtype="float32", key=KEY)


@pytest.mark.parametrize("make", [DenseLayer, conv])
@pytest.mark.parametrize("hidden", [(), (3,), (3, 2, 4)])
def test_network_is_the_composition_of_its_layers(make, hidden):
    network = filled(lambda: Network(make, 2, hidden, 5, "silu", dtype="float64", key=KEY), 1.0)
    x = jnp.asarray(np.random.default_rng(2).normal(size=(2,) if make is DenseLayer else (6, 2)))
    expected = x
    assert len(network.trunk.layers) == len(hidden)
    for layer in network.trunk.layers:
        expected = jax.nn.silu(layer(expected))
    expected = network.head(expected)
    assert expected.shape == (*x.shape[:-1], 5)
    np.testing.assert_allclose(network(x), expected, rtol=1e-14)


@pytest.mark.parametrize("kind", [partial(Network, outputs=3), partial(OddEvenNetwork, outputs=(2, 3))])
def test_outputs_start_at_zero(kind):
    network = kind(DenseLayer, 4, (5,), activation="tanh", dtype="float64", key=KEY)
    for output in jax.tree.leaves(network(jnp.ones(4))):
        np.testing.assert_array_equal(output, 0.0)
    assert np.all(network.trunk.layers[0].weight != 0.0)


@pytest.mark.parametrize("kind", [partial(Network, outputs=4), partial(OddEvenNetwork, outputs=(4, 4))])
def test_layers_share_no_weights(kind):
    """Mistake seen in earlier codes: layers that share weights by accident."""
    network = kind(DenseLayer, 4, (4, 4, 4), activation="tanh", dtype="float32", key=KEY)
    other = kind(DenseLayer, 4, (4, 4, 4), activation="tanh", dtype="float32", key=jax.random.key(1))
    weights = [np.asarray(layer.weight) for net in (network, other) for layer in net.trunk.layers]
    assert len(weights) == 6
    for one, another in itertools.combinations(weights, 2):
        assert np.max(np.abs(one - another)) > 0.1


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradient_reaches_every_parameter(name):
    network = filled(lambda: Network(DenseLayer, 3, (4, 2), 2, name, dtype="float64", key=KEY), 1.0, seed=3)
    x = jnp.asarray(np.random.default_rng(2).normal(size=(64, 3)))
    gradient = jax.jit(jax.grad(lambda network: jnp.sum(jax.vmap(network)(x) ** 3)))(network)
    for leaf in jax.tree.leaves(gradient):
        assert np.all(np.abs(leaf) > 1e-12)


def test_unknown_activation_is_refused():
    with pytest.raises(InputError, match=r"network\.activation: 'tanhh' is unknown; choose one of .*tanh"):
        Network(DenseLayer, 4, (3,), 2, "tanhh", dtype="float32", key=KEY)


@pytest.mark.parametrize("hidden", [(0,), (4, -1)])
def test_empty_layers_are_refused(hidden):
    with pytest.raises(InputError, match=r"network\.hidden: every width must be at least 1, got \["):
        Network(DenseLayer, 4, hidden, 2, "tanh", dtype="float32", key=KEY)


def test_parameters_are_the_only_arrays():
    """A network can be flattened for an optimizer: every leaf is a parameter in the dtype asked for."""
    network = two_pass()
    assert jax.tree.leaves(network) == jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(network)} == {"float32"}
