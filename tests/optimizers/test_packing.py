import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from trivmap.optimizers.first_order import ENTRY_BY_ENTRY
from trivmap.optimizers.packing import pack, packed, unpack

KEYS = jax.random.split(jax.random.key(3), 3)
SINGLE = {"a": jax.random.normal(KEYS[0], (3, 4), jnp.float32), "b": jax.random.normal(KEYS[1], (5,), jnp.float32)}
MIXED = {**SINGLE, "c": (jax.random.normal(KEYS[2], (2, 1, 2), jnp.float64), jnp.asarray(7.0, jnp.float64))}


@pytest.fixture(autouse=True)
def optax_mixes_dtypes():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize("tree", [SINGLE, MIXED, {}], ids=["one dtype", "two dtypes", "empty"])
def test_unpack_inverts_pack(tree):
    vectors = pack(tree)
    assert {name: (vector.dtype.name, vector.ndim) for name, vector in vectors.items()} == {n: (n, 1) for n in vectors}
    assert sum(vector.size for vector in vectors.values()) == sum(leaf.size for leaf in jax.tree.leaves(tree))
    back = unpack(vectors, tree)
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    for found, leaf in zip(jax.tree.leaves(back), jax.tree.leaves(tree), strict=True):
        assert found.dtype == leaf.dtype
        np.testing.assert_array_equal(found, leaf)


@pytest.mark.parametrize("name", sorted(ENTRY_BY_ENTRY))
def test_the_packed_optimizer_takes_the_same_steps(name):
    """Those named as working entry by entry do."""
    plain = optax.with_extra_args_support(getattr(optax, name)(learning_rate=0.1))
    results = []
    for optimizer in (plain, packed(plain)):
        parameters = SINGLE
        state = optimizer.init(parameters)
        for step in range(4):
            gradient = jax.tree.map(lambda leaf, step=step: jnp.sin((step + 1) * leaf), parameters)
            updates, state = optimizer.update(gradient, state, parameters)
            parameters = optax.apply_updates(parameters, updates)
        results.append(parameters)
    for found, expected in zip(*map(jax.tree.leaves, results), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
