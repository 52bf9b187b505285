"""Gauss-Newton steps: what they solve, when they are refused, and that they can be scanned."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.optimizers.problems import PARAMETERS, RIDGE, centered, floored, linear, noise, residual
from trivmap import InputError
from trivmap.optimizers import GaussNewton
from trivmap.optimizers.linearization import robust

SPACES = ["parameters", "samples", "matrix-free"]
SIZE, BATCH = PARAMETERS.size, 16
THETA = jnp.asarray(PARAMETERS)


@partial(jax.jit, static_argnums=(0, 1))
def stepped(method, function, theta, z, state, ridge):
    return method.step(function, theta, z, state, ridge)


def first_step(method, theta=THETA, z=None, function=residual, ridge=0 * RIDGE):
    z = noise(BATCH) if z is None else z
    return stepped(method, function, theta, z, method.init(theta, len(z)), jnp.asarray(ridge))


def gauss_newton(theta, z, damping, clip=3.0):
    """theta - (J^T J / B + damping D + ridge)^-1 (J^T f / B + ridge theta), in NumPy."""
    f, jacobian = centered(theta, z)
    clipped, _ = robust(jnp.asarray(f), clip)
    normal = jacobian.T @ jacobian / len(z)
    matrix = normal + np.diag(damping * floored(np.diag(normal)) + RIDGE)
    return theta - np.linalg.solve(matrix, jacobian.T @ np.asarray(clipped) / len(z) + RIDGE * theta)


@pytest.mark.parametrize("space", ["parameters", "samples"])
def test_first_step_is_the_damped_one(space):
    method = GaussNewton(damping=0.5, decrease=0.4, space=space)
    trial, state, info = first_step(method, ridge=RIDGE)
    np.testing.assert_allclose(trial, gauss_newton(PARAMETERS, noise(BATCH), 0.5 * 0.4), atol=1e-10)
    f, jacobian = centered(PARAMETERS, noise(BATCH))
    clipped, spread = robust(jnp.asarray(f), 3.0)
    np.testing.assert_allclose(info.residuals - jnp.mean(info.residuals), f, atol=1e-13)
    assert float(info.gradient_norm) == pytest.approx(np.linalg.norm(jacobian.T @ clipped) / BATCH, rel=1e-12)
    assert bool(info.accepted)
    assert float(state.damping) == pytest.approx(0.2, rel=1e-14)
    assert float(state.spread) == pytest.approx(float(spread), rel=1e-12)
    expected = np.std(np.asarray(clipped) + jacobian @ (np.asarray(trial) - PARAMETERS))
    assert float(state.predicted) == pytest.approx(expected, rel=1e-10)
    assert float(state.predicted) < float(state.spread)
    np.testing.assert_array_equal(state.last_accepted, THETA)


@pytest.mark.parametrize("space", SPACES)
def test_a_linear_residual_is_solved_in_one_step(space):
    """Undamped, and with more samples than parameters."""
    method = GaussNewton(damping=1e-12, damping_min=1e-12, clip=1e6, space=space)
    trial, state, _ = first_step(method, jnp.zeros(SIZE), noise(BATCH, SIZE), linear)
    # Conjugate gradients stop at a residual of 1e-4.
    np.testing.assert_allclose(trial, np.arange(1.0, 6.0), atol=1e-3 if space == "matrix-free" else 1e-8)
    assert float(state.predicted) < (1e-3 if space == "matrix-free" else 1e-8)


@pytest.mark.parametrize("space", SPACES)
def test_fresh_batches_lead_to_the_optimum(space):
    """Nonlinear in two ways: from (0.4, -0.8) to a spread of zero at (0, 0)."""

    def bent(theta, z):
        return theta[0] * z[0] + theta[1] ** 3 * z[1] + theta[0] * theta[1] * z[2] + theta[1] * z[2]

    method = GaussNewton(space=space)
    theta, ridge = jnp.asarray([0.4, -0.8]), jnp.zeros(2)

    @jax.jit
    def run(batches):
        def step(carry, z):
            theta, state, info = method.step(bent, carry[0], z, carry[1], ridge)
            return (theta, state), info.accepted

        return jax.lax.scan(step, (theta, method.init(theta, 8)), batches)

    (found, state), _ = run(jnp.stack([noise(8, seed=seed) for seed in range(25)]))
    np.testing.assert_allclose(found, 0.0, atol=1e-4)
    assert float(state.spread) < 1e-4


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("dtype", "x64"), [("float32", False), ("float32", True), ("float64", True)])
def test_state_keeps_its_types(space, dtype, x64):
    """So that it can be scanned; residuals are in double precision wherever the process has it enabled."""
    method = GaussNewton(space=space)

    def wide(theta, z):
        return residual(theta, z).astype("float64" if x64 else "float32")

    with jax.enable_x64(x64):
        theta, z = jax.ShapeDtypeStruct((SIZE,), dtype), jax.ShapeDtypeStruct((BATCH, 3), dtype)
        state = jax.eval_shape(partial(method.init, batch=BATCH), theta)
        trial, after, _ = jax.eval_shape(partial(method.step, wide), theta, z, state, theta)
    assert (trial.shape, trial.dtype) == (theta.shape, theta.dtype)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    for leaf, before in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
        assert (leaf.shape, leaf.dtype) == (before.shape, before.dtype)
    assert {state.memory.normal.dtype.name, state.damping.dtype.name} == {"float64" if x64 else "float32"}


WORSE = 4.0


@pytest.mark.parametrize("space", SPACES)
def test_a_worse_step_is_refused_and_goes_back(space):
    """The spread has grown at the parameters tried: more damping, and from the last good point on."""
    method = GaussNewton(space=space, damping=0.5, decrease=0.5, increase=3.0)
    _, state, _ = first_step(method)
    far = THETA + WORSE
    trial, after, info = stepped(method, residual, far, noise(BATCH, seed=1), state, jnp.asarray(0 * RIDGE))
    assert not bool(info.accepted)
    assert float(jnp.std(info.residuals)) > 2 * float(state.spread)
    assert int(after.refused) == 1
    assert float(after.damping) == pytest.approx(3.0 * 0.25, rel=1e-14)
    np.testing.assert_array_equal(after.last_accepted, THETA)
    assert float(after.spread) == float(state.spread)
    assert float(after.predicted) == float(state.spread)
    for one, other in zip(jax.tree.leaves(after.memory), jax.tree.leaves(state.memory), strict=True):
        np.testing.assert_array_equal(one, other)
    if space == "parameters":
        # The remembered linear model is solved again.
        f, jacobian = centered(PARAMETERS, noise(BATCH))
        normal = jacobian.T @ jacobian / BATCH
        matrix = normal + 0.75 * np.diag(floored(np.diag(normal)))
        clipped, _ = robust(jnp.asarray(f), 3.0)
        expected = PARAMETERS - np.linalg.solve(matrix, jacobian.T @ clipped / BATCH)
        np.testing.assert_allclose(trial, expected, atol=1e-10)
    else:
        np.testing.assert_allclose(trial, THETA + WORSE / 4, atol=1e-14)
        np.testing.assert_array_equal(after.step, 0)
    _, better, info = stepped(method, residual, THETA, noise(BATCH, seed=2), after, jnp.asarray(0 * RIDGE))
    assert bool(info.accepted)
    assert int(better.refused) == 0


@pytest.mark.parametrize("space", SPACES)
def test_a_batch_with_nan_changes_nothing_but_the_damping(space):
    method = GaussNewton(space=space, damping=0.5, decrease=0.5, increase=3.0)
    _, state, _ = first_step(method)
    broken = noise(BATCH, seed=1).at[3, 1].set(jnp.nan)
    trial, after, info = stepped(method, residual, THETA, broken, state, jnp.asarray(0 * RIDGE))
    assert not bool(info.accepted)
    assert np.all(np.isfinite(trial))
    assert int(after.refused) == 1
    assert float(after.damping) == pytest.approx(0.75, rel=1e-14)
    assert np.all(np.isfinite(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(after)])))
    for name in ("last_accepted", "spread", "memory"):
        for one, other in zip(
            jax.tree.leaves(getattr(after, name)), jax.tree.leaves(getattr(state, name)), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    if space != "parameters":
        np.testing.assert_array_equal(trial, THETA)


@pytest.mark.parametrize("space", ["parameters", "samples"])
def test_a_first_batch_with_nan_leaves_the_parameters(space):
    """Nothing is known yet: no reason to move, the ridge's pull least of all."""
    method = GaussNewton(space=space)
    broken = noise(BATCH).at[3, 1].set(jnp.nan)
    trial, state, info = first_step(method, z=broken, ridge=RIDGE)
    assert not bool(info.accepted)
    np.testing.assert_allclose(trial, THETA, atol=1e-14)
    _, _, info = stepped(method, residual, trial, noise(BATCH), state, jnp.asarray(RIDGE))
    assert bool(info.accepted)


def test_damping_stays_where_little_of_the_prediction_came_true():
    """And falls where it did: judged on the batch after."""
    method = GaussNewton(damping=0.5, decrease=0.5, tolerance=0.5)
    trial, state, _ = first_step(method)
    predicted_gain = float(state.spread) ** 2 - float(state.predicted) ** 2
    assert predicted_gain > 2 * float(state.spread) ** 2 / BATCH**0.5
    ridge = jnp.asarray(0 * RIDGE)
    _, same, info = stepped(method, residual, THETA, noise(BATCH), state, ridge)
    assert bool(info.accepted)
    assert float(same.damping) == float(state.damping)
    _, better, info = stepped(method, residual, trial, noise(BATCH), state, ridge)
    assert bool(info.accepted)
    assert float(state.spread) ** 2 - float(better.spread) ** 2 > 0.25 * predicted_gain
    assert float(better.damping) == pytest.approx(0.5 * float(state.damping), rel=1e-14)


@pytest.mark.parametrize("space", ["parameters", "samples"])
def test_the_number_linearized_at_once_does_not_matter(space):
    whole, _, _ = first_step(GaussNewton(space=space))
    parts, _, _ = first_step(GaussNewton(space=space, micro_batch=5))
    np.testing.assert_allclose(parts, whole, atol=1e-12)


def test_the_space_follows_the_numbers_of_parameters_and_of_samples():
    choose = GaussNewton().chosen_space
    assert choose(1024, 16) == choose(4000, 4000) == "parameters"
    assert choose(1025, 16) == choose(4001, 4000) == choose(2**20, 2**8) == "samples"
    assert choose(2**20, 2**8 + 1) == "matrix-free"
    assert GaussNewton(space="samples").chosen_space(5, 16) == "samples"
    assert GaussNewton().init(jnp.zeros(5), 16).step.shape == (0,)
    assert GaussNewton().init(jnp.zeros(5), 16).memory.normal.shape == (5, 5)
    assert GaussNewton().init(jnp.zeros(1025), 16).memory.normal.shape == (0, 0)
    assert GaussNewton().init(jnp.zeros(1025), 16).step.shape == (1025,)


def test_a_state_goes_on_at_another_batch_size_in_its_own_space():
    """Where the batch that it was made for had more configurations than there are parameters, or fewer."""
    size, few, many = 1030, 4, 1040
    theta, ridge = jnp.zeros(size), jnp.zeros(size)
    for made_for, used in ((few, many), (many, few)):
        state = GaussNewton().init(theta, made_for)
        z = jax.ShapeDtypeStruct((used, size), jnp.float64)
        _, after, _ = jax.eval_shape(partial(GaussNewton().step, linear), theta, z, state, ridge)
        for leaf, before in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
            assert (leaf.shape, leaf.dtype) == (before.shape, before.dtype)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("damping", 0.0),
        ("damping", math.nan),
        ("damping_min", 0.0),
        ("increase", 1.0),
        ("decrease", 0.0),
        ("decrease", 1.5),
        ("memory", 1.0),
        ("memory", -0.1),
        ("clip", 0.0),
        ("tolerance", -0.1),
        ("iterations", 0),
        ("micro_batch", 0),
    ],
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(InputError) as caught:
        GaussNewton(**{name: value})
    assert str(caught.value).startswith(f"{name}: must be ")
