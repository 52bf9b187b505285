"""Gauss-Newton on the KL: its gradient, its matrix and its step, against closed derivatives and dense solutions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from tests.optimizers.problems import floored, noise
from trivmap.optimizers import GaussNewton
from trivmap.optimizers.least_squares import projected_gradient
from trivmap.optimizers.linearization import clip_factors, explicit_pair, matrix_free_pair, robust

THETA = np.array([0.3, -0.2, 0.4, -0.5])
RIDGE = np.array([0.0, 0.02, 0.3, 0.01])
SIZE, BATCH = THETA.size, 24
SPACES = ["parameters", "samples", "matrix-free"]


def push(theta, z):
    """Two sites: phi_0 = e^a z_0 + m, phi_1 = e^b z_1 + c phi_0."""
    first = jnp.exp(theta[0]) * z[0] + theta[1]
    return jnp.stack([first, jnp.exp(theta[2]) * z[1] + theta[3] * first])


def log_density(theta, phi):
    z = jnp.stack([(phi[0] - theta[1]) / jnp.exp(theta[0]), (phi[1] - theta[3] * phi[0]) / jnp.exp(theta[2])])
    return -theta[0] - theta[2] - jnp.sum(z * z) / 2


def quartic(phi):
    return jnp.sum(phi**2) / 2 + 0.2 * jnp.sum(phi**4) - 0.6 * phi[0] * phi[1] - 0.3 * phi[0]


def reachable(phi):
    return -log_density(jnp.asarray(THETA), phi) + 1.7


def pair(theta, z, action=quartic):
    phi = push(theta, z)
    fixed = jax.lax.stop_gradient(phi)
    total = jax.grad(log_density, argnums=1)(jax.lax.stop_gradient(theta), fixed) + jax.grad(action)(fixed)
    return log_density(theta, phi) + action(phi), jnp.dot(jax.lax.stop_gradient(total), phi)


def reached(theta, z):
    return pair(theta, z, reachable)


@partial(jax.jit, static_argnums=2)
def derivatives(theta, z, action=quartic):
    """(f, total derivative of f, its part through phi, derivative of log q at fixed phi), sample by sample."""

    def one(z):
        phi = push(theta, z)
        force = jax.grad(lambda phi: log_density(theta, phi) + action(phi))(phi)
        total = jax.grad(lambda theta: log_density(theta, push(theta, z)) + action(push(theta, z)))(theta)
        path = force @ jax.jacobian(push)(theta, z)
        return log_density(theta, phi) + action(phi), total, path, jax.grad(log_density)(theta, phi)

    return jax.vmap(one)(z)


def dense(theta, z, action=quartic):
    f, total, path, score = map(np.asarray, derivatives(jnp.asarray(theta), z, action))
    np.testing.assert_allclose(total, path + score, atol=1e-12)
    return f, path, score - score.mean(axis=0)


@partial(jax.jit, static_argnums=(0, 1))
def stepped(method, function, theta, z, state, ridge):
    return method.step(function, theta, z, state, ridge, kl=True)


def first_step(method, theta=THETA, z=None, function=pair, ridge=0 * RIDGE):
    z, theta = noise(BATCH, 2) if z is None else z, jnp.asarray(theta)
    return stepped(method, function, theta, z, method.init(theta, len(z)), jnp.asarray(ridge))


def natural_step(theta, z, damping, clip=3.0):
    """-(J^T J / B + damping D + ridge)^-1 (sum_i w_i dp_i / B + ridge theta), in NumPy."""
    f, path, jacobian = dense(theta, z)
    distance = np.abs(f - np.median(f))
    width = clip * 1.4826 * np.median(distance)
    weights = np.minimum(1.0, width / np.maximum(distance, 1e-300))
    normal = jacobian.T @ jacobian / len(z)
    matrix = normal + np.diag(damping * floored(np.diag(normal)) + RIDGE)
    return -np.linalg.solve(matrix, weights @ path / len(z) + RIDGE * theta)


@pytest.mark.parametrize(("make", "micro_batch"), [(explicit_pair, None), (explicit_pair, 5), (matrix_free_pair, None)])
def test_products_are_those_of_the_two_derivatives(make, micro_batch):
    rng = np.random.default_rng(4)
    v, r = jnp.asarray(rng.normal(size=SIZE)), jnp.asarray(rng.normal(size=BATCH))

    @jax.jit
    def all_of_it(theta, z):
        model = make(pair, theta, z, micro_batch)
        return model.residuals, model.push(v), model.pull(r), model.path(r)

    f, push_v, pull_r, path_r = all_of_it(jnp.asarray(THETA), noise(BATCH, 2))
    expected, path, jacobian = dense(THETA, noise(BATCH, 2))
    np.testing.assert_allclose(f, expected, atol=1e-13)
    np.testing.assert_allclose(push_v, jacobian @ v, atol=1e-12)
    np.testing.assert_allclose(pull_r, jacobian.T @ r, atol=1e-12)
    np.testing.assert_allclose(path_r, path.T @ r, atol=1e-12)


def test_shares_are_what_clipping_leaves():
    f = jnp.asarray([0.0, 1.0, 2.0, 3.0, 4.0, 100.0, -50.0])
    clipped, _ = robust(f, 2.0)
    moved = np.median(f) + np.asarray(clip_factors(f, 2.0)) * (np.asarray(f) - np.median(f))
    np.testing.assert_allclose(moved - moved.mean(), clipped, atol=1e-13)
    np.testing.assert_array_equal(clip_factors(jnp.full(4, 3.0), 2.0), 1.0)


def within_errors(samples):
    """Whether the mean is zero: chi^2 with the measured covariance."""
    mean, covariance = samples.mean(axis=0), np.cov(samples.T) / len(samples)
    return chi2.sf(mean @ np.linalg.solve(covariance, mean), len(mean)) > 1e-3


def test_three_estimators_of_one_gradient():
    """Path gradient, reverse KL and E[f d log q]; but the variance has another gradient, by E[f dp]."""
    z = noise(2**15, 2)
    f, total, path, score = map(np.asarray, derivatives(jnp.asarray(THETA), z))
    centered = (f - f.mean())[:, None]
    assert within_errors(path - total)
    assert within_errors(path - centered * score)
    assert within_errors(path + centered * path - centered * total)
    assert not within_errors(path - centered * total)
    assert not within_errors(path)


@pytest.mark.parametrize(("space", "batch"), [("parameters", BATCH), ("samples", 3)])
def test_first_step_is_the_damped_natural_gradient(space, batch):
    """Fewer samples than parameters, or more."""
    method, z = GaussNewton(damping=0.5, decrease=0.4, space=space, radius=1e3), noise(batch, 2)
    trial, state, info = first_step(method, z=z, ridge=RIDGE)
    step = natural_step(THETA, z, 0.2)
    np.testing.assert_allclose(trial, THETA + step, atol=1e-9)
    f, path, jacobian = dense(THETA, z)
    np.testing.assert_allclose(info.residuals, f, atol=1e-13)
    weights = np.asarray(clip_factors(jnp.asarray(f), 3.0))
    gain = -(weights @ path / batch) @ step - np.mean((jacobian @ step) ** 2) / 2
    assert float(state.predicted_gain) == pytest.approx(gain, rel=1e-8)
    clipped = np.median(f) + weights * (f - np.median(f))
    assert float(state.mean_residual) == pytest.approx(clipped.mean(), rel=1e-12)
    assert float(state.spread) == pytest.approx(clipped.std(), rel=1e-12)
    assert bool(info.accepted)


@pytest.mark.parametrize("iterations", [None, 40])
def test_a_gradient_outside_the_span_of_the_samples(iterations):
    """Three samples, four parameters, and the step before."""
    z, before, gradient = noise(3, 2), np.array([0.1, -0.2, 0.0, 0.3]), np.array([1.0, -2.0, 0.5, 0.7])

    @jax.jit
    def step(theta):
        model = (explicit_pair if iterations is None else matrix_free_pair)(pair, theta, z)
        given = jnp.asarray(gradient), jnp.asarray(before), theta, jnp.asarray(0.3), jnp.asarray(RIDGE)
        return projected_gradient(model, *given, iterations)

    _, _, jacobian = dense(THETA, z)
    if iterations is None:
        diagonal = np.mean(jacobian**2, axis=0)
    else:
        signs = np.asarray(jax.random.rademacher(jax.random.key(0), (3,), jnp.float64))
        diagonal = np.full(SIZE, np.mean((jacobian.T @ signs) ** 2) / 3)
    metric, normal = np.diag(0.3 * floored(diagonal) + RIDGE), jacobian.T @ jacobian / 3
    right = -gradient - normal @ before - RIDGE * (THETA + before)
    expected = before + np.linalg.solve(normal + metric, right)
    np.testing.assert_allclose(step(jnp.asarray(THETA)), expected, rtol=1e-3 if iterations else 1e-9)


@pytest.mark.parametrize("space", SPACES)
def test_a_step_at_a_reachable_optimum_is_zero(space):
    """Whatever the batch: no sample pulls. Elsewhere it is not."""
    method = GaussNewton(damping=1e-3, space=space)
    trial, state, _ = first_step(method, function=reached)
    np.testing.assert_allclose(trial, THETA, atol=1e-11)
    assert float(state.spread) < 1e-13
    trial, _, _ = first_step(method, theta=THETA + 0.1, function=reached)
    assert np.max(np.abs(np.asarray(trial) - THETA - 0.1)) > 0.05


@pytest.mark.parametrize("space", ["parameters", "samples"])
def test_fresh_batches_lead_to_a_reachable_optimum(space):
    method = GaussNewton(space=space)
    theta, ridge = jnp.asarray(THETA + np.array([0.6, 0.8, -0.5, 0.7])), jnp.zeros(SIZE)

    @jax.jit
    def run(batches):
        def step(carry, z):
            theta, state, info = method.step(reached, carry[0], z, carry[1], ridge, kl=True)
            return (theta, state), info.accepted

        return jax.lax.scan(step, (theta, method.init(theta, 64)), batches)

    (found, state), _ = run(jnp.stack([noise(64, 2, seed=seed) for seed in range(30)]))
    np.testing.assert_allclose(found, THETA, atol=0.02)
    assert float(state.mean_residual) == pytest.approx(1.7, abs=1e-3)


@pytest.mark.parametrize("space", ["samples"])
def test_a_long_step_is_shortened_to_the_radius(space):
    method = GaussNewton(damping=0.5, space=space, radius=1e3)
    whole, state, _ = first_step(method)
    gain = float(state.predicted_gain)
    short, state, _ = first_step(GaussNewton(damping=0.5, space=space, radius=1e-3))
    ratio = (np.asarray(short) - THETA) / (np.asarray(whole) - THETA)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-7)
    assert 0 < ratio[0] < 0.5
    # Linear for so short a step: its gain is at most twice the radius.
    assert 1e-3 < float(state.predicted_gain) < 2e-3 < gain


@pytest.mark.parametrize("space", ["parameters", "samples"])
def test_a_step_that_raises_the_loss_is_refused(space):
    """Though the spread falls: a far too narrow distribution has f nearly constant in the action's part."""
    method = GaussNewton(space=space, damping=0.5, decrease=0.5, increase=3.0)
    _, state, _ = first_step(method, function=reached, theta=THETA + 0.3)
    far = jnp.asarray(THETA + np.array([-4.0, 0.0, -4.0, 0.0]))
    function = reached
    _, after, info = stepped(method, function, far, noise(BATCH, 2, seed=1), state, jnp.zeros(SIZE))
    assert not bool(info.accepted)
    np.testing.assert_array_equal(after.last_accepted, THETA + 0.3)
    assert float(after.damping) == pytest.approx(0.75, rel=1e-14)
    assert float(after.mean_residual) == float(state.mean_residual)
    assert float(after.predicted_gain) == 0
    _, better, info = stepped(method, function, jnp.asarray(THETA), noise(BATCH, 2, seed=2), after, jnp.zeros(SIZE))
    assert bool(info.accepted)
    assert float(better.mean_residual) == pytest.approx(1.7, abs=1e-12)


def test_damping_stays_where_little_of_the_expected_gain_came_true():
    method = GaussNewton(damping=0.5, decrease=0.5, tolerance=5.0, radius=1e3)
    start, function, z = THETA + 0.3, reached, noise(400, 2)
    trial, state, _ = first_step(method, theta=start, z=z, function=function)
    assert float(state.predicted_gain) > 2 * 2**0.5 * float(state.spread) / 20
    _, same, info = stepped(method, function, jnp.asarray(start), z, state, jnp.zeros(SIZE))
    assert bool(info.accepted)
    assert float(same.damping) == float(state.damping)
    _, better, _ = stepped(method, function, trial, z, state, jnp.zeros(SIZE))
    assert float(better.damping) == pytest.approx(0.5 * float(state.damping), rel=1e-14)


@pytest.mark.parametrize(("space", "x64"), [("parameters", True), ("samples", False), ("matrix-free", True)])
def test_either_objective_leaves_the_same_form_of_state(space, x64):
    """So that a training can change from one to the other, be scanned, and be kept."""
    method = GaussNewton(space=space)

    def wide(theta, z):
        return tuple(value.astype("float64" if x64 else "float32") for value in pair(theta, z))

    with jax.enable_x64(x64):
        theta, z = jax.ShapeDtypeStruct((SIZE,), "float32"), jax.ShapeDtypeStruct((BATCH, 2), "float32")
        state = jax.eval_shape(partial(method.init, batch=BATCH), theta)
        kl = jax.eval_shape(partial(method.step, wide, kl=True), theta, z, state, theta)
        variance = jax.eval_shape(partial(method.step, lambda t, z: wide(t, z)[0]), theta, z, state, theta)
    assert kl == variance
    assert kl[1] == state
