import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap._types import draw_normal, draw_uniform, site_sum


def test_site_sum_accumulates_single_precision_in_double():
    """Mistake to avoid: the sum over 64^2 sites of float32 numbers loses the digits that log-weights need."""
    values = np.random.default_rng(1).normal(1e3, 1.0, size=(64, 64)).astype(np.float32)
    total = site_sum(jnp.asarray(values))
    assert total.dtype == jnp.float64
    assert total == np.sum(values.astype(np.float64))


def test_site_sum_stays_single_where_double_is_disabled():
    with jax.enable_x64(False):
        total = site_sum(jnp.ones((4, 4), jnp.float32))
    assert total.dtype == jnp.float32
    assert total == 16.0


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_are_those_of_jax(shape, dtype):
    keys = jax.random.split(jax.random.key(1), 2)
    for ours, theirs in ((draw_normal, jax.random.normal), (draw_uniform, jax.random.uniform)):
        expected = jax.vmap(lambda key, draw=theirs: draw(key, shape, dtype))(keys)
        found = jax.vmap(lambda key, draw=ours: draw(key, shape, dtype))(keys)
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)
