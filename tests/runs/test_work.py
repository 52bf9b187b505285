"""The work in programs whose operations are counted by hand."""

import jax
import jax.numpy as jnp
import pytest

from trivmap.runs.work import Work, work

N = 16
MATRIX = jax.ShapeDtypeStruct((N, N), jnp.float32)


def product(x):
    return x @ x


def nested(x):
    """Five times seven products."""
    inner = lambda carry: jax.lax.fori_loop(0, 7, lambda _, y: product(y), carry)  # noqa: E731
    return jax.lax.scan(lambda carry, _: (inner(carry), None), x, None, length=5)[0]


def convolved(x):
    return jax.lax.conv_general_dilated(x[None, None], jnp.ones((4, 1, 3, 3), x.dtype), (1, 1), "SAME")


@pytest.mark.parametrize(
    ("function", "products"),
    [
        (product, 2 * N**3),
        (nested, 35 * 2 * N**3),
        (jax.jit(nested), 35 * 2 * N**3),
        (lambda x: jax.lax.cond(x[0, 0] > 0, nested, product, x), 35 * 2 * N**3),
        (lambda x: jax.lax.while_loop(lambda y: y[0, 0] < 100.0, product, x), 2 * N**3),
        (jax.grad(lambda x: jnp.sum(nested(x))), 35 * 3 * 2 * N**3),
        (convolved, 2 * 4 * N**2 * 9),
    ],
)
def test_products(function, products):
    assert work(function, MATRIX).products == products


@pytest.mark.parametrize(
    ("function", "elements", "functions"),
    [
        (lambda x: x * x + x, 2 * N**2, 0),
        (jnp.tanh, 0, N**2),
        (lambda x: jnp.broadcast_to(x, (5, N, N)).reshape(-1), 0, 0),
        (jnp.sum, N**2, 0),
        (lambda x: jnp.fft.fft2(x.astype(jnp.complex64)), 5 * N**2 * 8, 0),
        (lambda x: jax.vmap(jnp.exp)(x) * x, N**2, N**2),
    ],
)
def test_elements(function, elements, functions):
    assert work(function, MATRIX)[:2] == (elements, functions)


def test_random_numbers_cost_many_operations():
    drawn = work(lambda: jax.random.normal(jax.random.key(0), (1000,)))
    assert drawn.elements > 50_000
    assert drawn.functions >= 1000


def test_plus():
    assert Work(1, 2, 3).plus(Work(10, 20, 30), 2) == (21, 42, 63)
