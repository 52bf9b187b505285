"""Objectives on configurations that stay fixed: those of the target, and the flow's own."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from trivmap import Flow, InputError, Lattice
from trivmap.actions import FreeScalar, Phi4
from trivmap.bases import FreeField
from trivmap.bijections import Affine, Chain, ConvolutionalNetwork, Rescale, coupling_stack
from trivmap.objectives import Draws, ForwardKL, LogVariance, Mixture, PathGradient, ReverseKL, Variance

RING = Lattice((4,))
PHI4 = Phi4.from_couplings("bosetti2015", 1, beta=0.9, lam=0.5)
ONE = jnp.ones(())


def flow_at(scale=0.3):
    network = ConvolutionalNetwork((2,))
    maps = coupling_stack(RING, Affine(), 2, network, dtype=jnp.float64, key=jax.random.key(7)).maps
    flow = Flow(FreeField(RING, mass=1.5, dtype=jnp.float64), Chain(RING, [*maps, Rescale(RING, dtype=jnp.float64)]))
    parameters, rest = eqx.partition(flow, eqx.is_inexact_array)
    vector, unravel = ravel_pytree(parameters)
    moved = vector + scale * jax.random.normal(jax.random.key(1), vector.shape, vector.dtype)
    return moved, lambda vector: eqx.combine(unravel(vector), rest)


def noise(number, key=3):
    return jax.random.normal(jax.random.key(key), (number, *RING.shape), jnp.float64)


def gradient(objective, draws):
    vector, build = flow_at()
    run = eqx.filter_jit(jax.value_and_grad(lambda v: objective(build(v), PHI4, draws, ONE), has_aux=True))
    (value, monitored), slope = run(vector)
    return value, np.asarray(monitored), np.asarray(slope)


def by_hand(fields):
    """log q + S of given configurations, and the derivatives of log q at these, one configuration at a time."""
    vector, build = flow_at()
    residuals = jax.jit(jax.vmap(lambda x: build(vector).log_density(x) + PHI4(x)))(fields)
    scores = jax.jit(jax.vmap(lambda x: jax.grad(lambda v: build(v).log_density(x))(vector)))(fields)
    return np.asarray(residuals), np.asarray(scores)


def test_forward_kl():
    data = 1.3 * noise(32)
    residuals, scores = by_hand(data)
    value, monitored, slope = gradient(ForwardKL(), Draws(data=data))
    np.testing.assert_allclose(value, -residuals.mean(), rtol=1e-12)
    np.testing.assert_allclose(monitored, -residuals, rtol=1e-12)
    np.testing.assert_allclose(slope, -scores.mean(axis=0), rtol=1e-9, atol=1e-12)


def test_log_variance_of_data():
    data = 1.3 * noise(32)
    residuals, scores = by_hand(data)
    value, monitored, slope = gradient(LogVariance("data"), Draws(data=data))
    np.testing.assert_allclose(value, residuals.var() / 2, rtol=1e-12)
    np.testing.assert_allclose(monitored, -residuals, rtol=1e-12)
    np.testing.assert_allclose(slope, ((residuals - residuals.mean())[:, None] * scores).mean(axis=0), atol=1e-11)


def test_log_variance_of_the_flows_own_configurations():
    """Its samples stay fixed: the gradient is the covariance of residual and score at them."""
    z = noise(32)
    vector, build = flow_at()
    fields = jax.vmap(lambda z: build(vector).push(z)[0])(z)
    residuals, scores = by_hand(fields)
    _, monitored, slope = gradient(LogVariance(), Draws(noise=z))
    np.testing.assert_allclose(monitored, residuals, rtol=1e-10)
    np.testing.assert_allclose(slope, ((residuals - residuals.mean())[:, None] * scores).mean(axis=0), atol=1e-9)


def test_gradients_of_the_reverse_kl_agree_in_the_mean():
    """Path gradient, reparametrized gradient and log-variance: three estimators of one gradient."""
    number, parts = 1 << 12, 16
    found = {}
    for objective in (PathGradient(), ReverseKL(), LogVariance()):
        rows = np.array([gradient(objective, Draws(noise=noise(number, 100 + part)))[2] for part in range(parts)])
        found[type(objective).__name__] = rows.mean(axis=0), rows.std(axis=0, ddof=1) / parts**0.5
    exact, error = found["PathGradient"]
    for name in ("ReverseKL", "LogVariance"):
        mean, scatter = found[name]
        # The control variate of a batch of 4096 moves the mean by a part in 4096.
        bound = 4.5 * np.hypot(error, scatter) + np.abs(exact) / number
        assert np.all(np.abs(mean - exact) < bound), name
    assert np.max(np.abs(exact) / error) > 30


def test_variance_is_that_of_the_residuals_through_their_samples():
    z = noise(32)
    vector, build = flow_at()

    def spread(vector):
        return jnp.var(jax.vmap(lambda z: build(vector).residual(PHI4, z))(z))

    value, _, slope = gradient(Variance(), Draws(noise=z))
    np.testing.assert_allclose(value, spread(vector), rtol=1e-12)
    np.testing.assert_allclose(slope, jax.grad(spread)(vector), rtol=1e-9, atol=1e-12)


def test_mixture_is_the_sum_of_its_parts():
    draws = Draws(noise=noise(16), data=1.3 * noise(16, 4))
    whole, monitored, slope = gradient(Mixture(0.3), draws)
    reverse, residuals, one = gradient(PathGradient(), draws)
    forward, _, other = gradient(ForwardKL(), draws)
    np.testing.assert_allclose(whole, 0.7 * reverse + 0.3 * forward, rtol=1e-12)
    np.testing.assert_array_equal(monitored, residuals)
    np.testing.assert_allclose(slope, 0.7 * one + 0.3 * other, atol=1e-12)


def test_a_trivializing_map_leaves_nothing_to_any_of_them():
    action = FreeScalar(0.7, 1)
    flow = Flow(FreeField(RING, mass=0.7, dtype=jnp.float64), Chain(RING, [Rescale(RING, dtype=jnp.float64)]))
    parameters, rest = eqx.partition(flow, eqx.is_inexact_array)
    fields = jax.vmap(lambda z: flow.push(z)[0])(noise(16))
    for objective in (LogVariance(), LogVariance("data"), Variance(), PathGradient()):
        draws = Draws(noise=noise(16), data=fields)
        slope = jax.grad(lambda p, o=objective, d=draws: o(eqx.combine(p, rest), action, d, ONE)[0])(parameters)
        assert max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(slope)) < 1e-12


def test_what_they_draw():
    wanted = {"PathGradient": {"noise"}, "ForwardKL": {"data"}, "Mixture": {"noise", "data"}, "LogVariance": {"noise"}}
    for objective in (PathGradient(), ForwardKL(), Mixture(), LogVariance()):
        assert objective.draws == wanted[type(objective).__name__]
    assert LogVariance("data").draws == {"data"}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Mixture(1.5), "forward: must be between 0 and 1, got 1.5"),
        (lambda: LogVariance("fields"), "over: 'fields' is unknown; known here: noise, data"),
    ],
)
def test_settings_out_of_range_are_refused(make, sentence):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == sentence
