"""What every map inherits: a user's map with nothing but `forward` and `inverse`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import InputError, Lattice
from trivmap._types import site_sum
from trivmap.bijections import AbstractBijection


class Sinh(AbstractBijection):
    """y = sinh(a x) / a at every site: log det = sum log cosh(a x)."""

    a: jax.Array
    lattice: Lattice = eqx.field(static=True)

    def forward(self, x):
        return jnp.sinh(self.a * x) / self.a, site_sum(jnp.log(jnp.cosh(self.a * x)))

    def inverse(self, y):
        return jnp.arcsinh(self.a * y) / self.a, -0.5 * site_sum(jnp.log1p((self.a * y) ** 2))


SINH = Sinh(jnp.asarray(0.7), Lattice((3,)))
X, S = jnp.asarray([0.3, -1.2, 2.0]), jnp.asarray([1.0, 0.4, -0.8])


def test_default_score_is_transported_through_the_inverse():
    """s_y = (s_x - d log det/dx) / y', here by hand."""
    y, log_det, score = SINH.forward_with_score(X, S)
    np.testing.assert_allclose(y, np.sinh(0.7 * X) / 0.7, rtol=1e-14)
    assert float(log_det) == pytest.approx(np.sum(np.log(np.cosh(0.7 * X))), rel=1e-13)
    np.testing.assert_allclose(score, (S - 0.7 * np.tanh(0.7 * X)) / np.cosh(0.7 * X), rtol=1e-13)


def test_default_score_is_a_constant_to_differentiation():
    """In the parameters, in the field, and in the score before the map; the field itself keeps its derivative."""
    gradients = jax.grad(lambda *arguments: jnp.sum(Sinh.forward_with_score(*arguments)[2] ** 2), argnums=(0, 1, 2))
    for leaf in jax.tree.leaves(gradients(SINH, X, S)):
        np.testing.assert_array_equal(leaf, 0.0)
    moving = jax.grad(lambda it: jnp.sum(it.forward_with_score(X, S)[0]))(SINH)
    assert abs(moving.a) > 0.1


def test_resize_is_refused_unless_a_map_says_how():
    with pytest.raises(InputError, match=r"Sinh: cannot be carried from lattice \[3\] to \[6\]; train it there"):
        SINH.resize(Lattice((6,)))
