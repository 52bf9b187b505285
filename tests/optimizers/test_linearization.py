"""Residuals and their derivatives, formed and not formed, against jax.jacobian."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.optimizers.problems import PARAMETERS, centered, derivatives, noise, residual
from trivmap.optimizers.linearization import explicit, matrix_free, robust

BATCH = 7
DIRECTION = jnp.asarray(np.random.default_rng(1).normal(size=PARAMETERS.size))
WEIGHTS = jnp.asarray(np.random.default_rng(2).normal(size=BATCH))


def evaluated(make, micro_batch=None, dtype=jnp.float64):
    @jax.jit
    def all_of_it(theta, z, v, r):
        model = make(residual, theta, z, micro_batch)
        return model.residuals, model.push(v), model.pull(r), model.jacobian

    z = noise(BATCH).astype(dtype)
    found = all_of_it(jnp.asarray(PARAMETERS, dtype), z, DIRECTION.astype(dtype), WEIGHTS.astype(dtype))
    return SimpleNamespace(**dict(zip(("residuals", "push", "pull", "jacobian"), found, strict=True)))


@pytest.mark.parametrize(
    ("make", "micro_batch"),
    [(explicit, None), (explicit, 1), (explicit, 3), (explicit, 100), (matrix_free, None)],
)
def test_products_are_those_of_the_centered_jacobian(make, micro_batch):
    """Whatever number of configurations is linearized at once, a divisor of the batch or not."""
    found = evaluated(make, micro_batch)
    _, jacobian = centered(PARAMETERS, noise(BATCH))
    values, _ = derivatives(jnp.asarray(PARAMETERS), noise(BATCH), residual)
    np.testing.assert_allclose(found.residuals, values, atol=1e-14)
    np.testing.assert_allclose(found.push, jacobian @ DIRECTION, atol=1e-13)
    np.testing.assert_allclose(found.pull, jacobian.T @ WEIGHTS, atol=1e-13)
    if make is explicit:
        np.testing.assert_allclose(found.jacobian, jacobian, atol=1e-14)
    else:
        assert found.jacobian is None


@pytest.mark.parametrize("make", [explicit, matrix_free])
def test_single_precision_stays(make):
    found, wide = evaluated(make, dtype=jnp.float32), evaluated(explicit)
    assert {found.residuals.dtype, found.push.dtype, found.pull.dtype} == {jnp.dtype(jnp.float32)}
    for name in ("residuals", "push", "pull"):
        np.testing.assert_allclose(getattr(found, name), getattr(wide, name), atol=1e-5)


@pytest.mark.parametrize("make", [explicit, matrix_free])
def test_residuals_in_double_precision_of_parameters_in_single(make):
    """As flows have them: log-weights are accumulated in float64."""

    def mixed(theta, z):
        return residual(theta, z).astype(jnp.float64)

    def all_of_it(theta, z):
        model = make(mixed, theta, z)
        return model.residuals, model.push(theta), model.pull(model.residuals)

    single = jax.ShapeDtypeStruct((5,), jnp.float32), jax.ShapeDtypeStruct((BATCH, 3), jnp.float32)
    assert [leaf.dtype.name for leaf in jax.eval_shape(all_of_it, *single)] == ["float64", "float64", "float32"]


def test_robust_clips_at_the_median_absolute_deviation():
    residuals = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 100.0, -50.0])
    clipped, spread = robust(jnp.asarray(residuals), 2.0)
    # The median is 2, the absolute deviations 0, 1, 1, 2, 2, 52, 98: their median is 2.
    bound = 2.0 * 1.4826 * 2.0
    expected = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 2.0 + bound, 2.0 - bound])
    np.testing.assert_allclose(clipped, expected - expected.mean(), atol=1e-14)
    assert float(spread) == pytest.approx(np.std(expected), abs=1e-14)
    untouched, spread = robust(jnp.asarray(residuals), 1e3)
    np.testing.assert_allclose(untouched, residuals - residuals.mean(), atol=1e-14)
    assert float(spread) == pytest.approx(np.std(residuals), rel=1e-14)


def test_robust_survives_equal_infinite_and_undefined_residuals():
    clipped, spread = robust(jnp.full(5, 3.0), 3.0)
    np.testing.assert_array_equal(clipped, 0.0)
    assert float(spread) == 0.0
    clipped, spread = robust(jnp.asarray([0.0, 1.0, 2.0, 3.0, jnp.inf]), 3.0)
    assert float(spread) == pytest.approx(np.std([0.0, 1.0, 2.0, 3.0, 2.0 + 3.0 * 1.4826]), rel=1e-14)
    _, spread = robust(jnp.asarray([0.0, 1.0, jnp.nan]), 3.0)
    assert np.isnan(spread)
