"""Operations are counted by hand here, and by the compiler, body by body, there."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from tests.training.test_second_order import LATTICE, trainer
from trivmap.bases import FreeField
from trivmap.bijections import Chain, Continuous, Features, KernelBasis
from trivmap.flows import Flow
from trivmap.training import Phase
from trivmap.training.operations import operations

SIZE = 16
MATRIX = jnp.ones((SIZE, SIZE), jnp.float32)
PRODUCT = 2 * SIZE**3


def product(x):
    return x @ MATRIX


def nested(x):
    """Five times seven products."""

    def outer(carry, _):
        return jax.lax.fori_loop(0, 7, lambda _, y: product(y), carry), None

    return jax.lax.scan(outer, x, None, length=5)[0]


def unrolled(x):
    return jax.lax.scan(lambda carry, _: (product(carry), None), x, None, length=10, unroll=4)[0]


def solved(x):
    """Seven products in the matrix, which a solver that knows the answer never applies."""

    def matrix(y):
        return jax.lax.fori_loop(0, 7, lambda _, z: product(z), y)

    return jax.lax.custom_linear_solve(matrix, x, lambda _, b: product(b), lambda _, b: b)


def branch(x):
    return jax.lax.cond(x[0, 0] > 0, nested, product, x)


def turns(x):
    return jax.lax.while_loop(lambda y: y[0, 0] < 100.0, product, x)


def squared(x):
    return jnp.sum(nested(x) ** 2)


@pytest.mark.parametrize(
    ("function", "products"),
    [
        (product, 1),
        (nested, 35),
        (branch, 35),
        (turns, 1),
        (jax.grad(squared), 70),
        (jax.checkpoint(nested), 35),
        (unrolled, 10),
        (solved, 1),
    ],
)
def test_operations_count_every_turn_of_a_loop(function, products):
    assert operations(function, MATRIX) == pytest.approx(products * PRODUCT, rel=0.01)


def test_a_step_costs_what_its_batch_asks_for():
    small, large = trainer(), trainer()
    large.plan = replace(large.plan, phases=[Phase(6, 256)])
    cost = [each.operations(each.initial_state()) for each in (small, large)]
    assert 1.8 < cost[1] / cost[0] < 2.2


def test_twice_the_steps_of_a_solver_are_twice_the_operations():
    moving = Continuous(LATTICE, features=Features("tanh", (1.0,), (), ()), kernel=KernelBasis(1, ()), dtype="float32")
    flow = Flow(FreeField(LATTICE, mass=1.0, dtype="float32"), Chain(LATTICE, [moving]))
    few, many = (operations(flow.with_integration_steps(n).push, jnp.ones((4,), jnp.float32)) for n in (6, 12))
    assert 1.8 < many / few < 2.0
