"""The two least-squares problems against dense solutions in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.optimizers.problems import PARAMETERS, RIDGE, centered, floored, noise, residual
from trivmap.optimizers.least_squares import Memory, projected, recursive
from trivmap.optimizers.linearization import explicit, matrix_free

SIZE = PARAMETERS.size
DAMPING = 0.4
DECAY = 0.7
ANCHOR = PARAMETERS + np.array([0.1, -0.2, 0.3, 0.0, 0.2])


@jax.jit
def remember(memory, theta, z, last_accepted, accepted, spread, damping, ridge):
    model = explicit(residual, theta, z)
    gradient = model.pull(model.residuals - jnp.mean(model.residuals)) / len(z)
    return recursive(memory, model, gradient, last_accepted, theta, accepted, spread, damping, ridge, DECAY)


def remembered(memory, theta, z, spread, *, last_accepted=None, accepted=True, damping=DAMPING, ridge=RIDGE):
    last_accepted = theta if last_accepted is None else last_accepted
    numbers = jnp.asarray(accepted), jnp.asarray(spread), jnp.asarray(damping), jnp.asarray(ridge)
    return remember(memory, jnp.asarray(theta), z, jnp.asarray(last_accepted), *numbers)


def minimum(batches, last_accepted, damping=DAMPING, ridge=RIDGE):
    """Of sum_b w_b |f_b + J_b (theta - theta_b)|^2 / B + damping ... + ridge ..., the w_b adding up to one."""
    total = sum(weight for weight, _, _ in batches)
    normal, right = np.zeros((SIZE, SIZE)), np.zeros(SIZE)
    for weight, theta, z in batches:
        f, jacobian = centered(theta, z)
        normal += weight / total * jacobian.T @ jacobian / len(z)
        right += weight / total * jacobian.T @ (jacobian @ theta - f) / len(z)
    pull = damping * floored(np.diag(normal))
    return np.linalg.solve(normal + np.diag(pull + ridge), right + pull * last_accepted)


@pytest.mark.parametrize("batch", [4, 9])
def test_one_batch_gives_the_damped_step(batch):
    """Fewer samples than parameters, or more."""
    memory, trial = remembered(Memory.empty(SIZE), PARAMETERS, noise(batch), 0.5)
    np.testing.assert_allclose(trial, minimum([(1.0, PARAMETERS, noise(batch))], PARAMETERS), atol=1e-12)
    assert float(memory.weight) == pytest.approx(4.0, rel=1e-15)
    _, jacobian = centered(PARAMETERS, noise(batch))
    np.testing.assert_allclose(memory.normal, 4.0 * jacobian.T @ jacobian / batch, atol=1e-13)


@pytest.mark.parametrize(("damping", "ridge"), [(DAMPING, RIDGE), (1e-3, 0 * RIDGE), (10.0, 5 * RIDGE)])
def test_two_batches_are_weighted_by_variance_and_age(damping, ridge):
    """The earlier linear model is remembered about its own point; the damping pulls towards the accepted point."""
    first, second = noise(6), noise(6, seed=1)
    memory, trial = remembered(Memory.empty(SIZE), ANCHOR, first, 0.5, damping=damping, ridge=ridge)
    _, trial = remembered(memory, np.asarray(trial), second, 0.2, last_accepted=ANCHOR, damping=damping, ridge=ridge)
    at_second = minimum([(1.0, ANCHOR, first)], ANCHOR, damping, ridge)
    batches = [(DECAY / 0.5**2, ANCHOR, first), (1 / 0.2**2, at_second, second)]
    np.testing.assert_allclose(trial, minimum(batches, ANCHOR, damping, ridge), atol=1e-11)


def test_a_refused_batch_is_forgotten_even_where_it_is_undefined():
    memory, _ = remembered(Memory.empty(SIZE), ANCHOR, noise(6), 0.5)
    broken = noise(6).at[2, 1].set(jnp.nan)
    after, trial = remembered(memory, PARAMETERS, broken, 0.5, last_accepted=ANCHOR, accepted=False, damping=3.0)
    for one, other in zip(jax.tree.leaves(after), jax.tree.leaves(memory), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(trial, minimum([(1.0, ANCHOR, noise(6))], ANCHOR, damping=3.0), atol=1e-12)


BEFORE = np.array([0.02, -0.1, 0.05, 0.0, 0.2])


def dense_step(z, diagonal, damping, ridge):
    """delta = before + s of the P x P problem: the gradient of the sum of squares in s vanishes."""
    f, jacobian = centered(PARAMETERS, z)
    metric = damping * floored(diagonal)
    normal = jacobian.T @ jacobian / len(z)
    right = -jacobian.T @ (f + jacobian @ BEFORE) / len(z) - ridge * (PARAMETERS + BEFORE)
    return BEFORE + np.linalg.solve(normal + np.diag(metric + ridge), right)


def projected_step(make, z, damping, ridge, iterations):
    @jax.jit
    def step(theta, z):
        model = make(residual, theta, z)
        f = model.residuals - jnp.mean(model.residuals)
        given = jnp.asarray(BEFORE), theta, jnp.asarray(damping), jnp.asarray(ridge)
        return projected(model, f, *given, iterations)

    return step(jnp.asarray(PARAMETERS), z)


@pytest.mark.parametrize("batch", [4, 9])
@pytest.mark.parametrize(("damping", "ridge"), [(DAMPING, RIDGE), (0.01, 0 * RIDGE)])
def test_in_the_space_of_samples_the_step_is_that_of_the_space_of_parameters(batch, damping, ridge):
    z = noise(batch)
    _, jacobian = centered(PARAMETERS, z)
    expected = dense_step(z, np.mean(jacobian**2, axis=0), damping, ridge)
    np.testing.assert_allclose(projected_step(explicit, z, damping, ridge, None), expected, atol=1e-10)
    assert np.max(np.abs(expected - BEFORE)) > 0.1


@pytest.mark.parametrize(("damping", "ridge"), [(DAMPING, RIDGE), (0.05, 0 * RIDGE)])
def test_without_a_jacobian_the_metric_is_its_mean_diagonal(damping, ridge):
    """Estimated with random signs: the mean of (J^T signs)^2 / B, which on average is that of diag(J^T J) / B."""
    z = noise(9)
    _, jacobian = centered(PARAMETERS, z)
    signs = np.asarray(jax.random.rademacher(jax.random.key(0), (9,), jnp.float64))
    mean = np.mean((jacobian.T @ signs) ** 2) / 9
    # Var (signs . A signs) = 2 sum_{i != j} A_ij^2 for A = J J^T.
    products = jacobian @ jacobian.T
    deviation = np.sqrt(2 * (np.sum(products**2) - np.sum(np.diag(products) ** 2))) / (9 * SIZE)
    assert abs(mean - np.mean(jacobian**2)) < 2 * deviation
    expected = dense_step(z, np.full(SIZE, mean), damping, ridge)
    found = projected_step(matrix_free, z, damping, ridge, 50)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    early = projected_step(matrix_free, z, damping, ridge, 1)
    assert np.max(np.abs(early - expected)) > 1e-3
