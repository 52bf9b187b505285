"""The contract of an action: its force, its symmetries, one configuration at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import InputError
from trivmap.actions import AbstractAction, FreeScalar, Phi4, force_error

CASES = {
    "phi4-1d": (Phi4(-0.9, 0.0, 0.5, 1), (8,)),
    "phi4-2d": (Phi4.from_couplings("albergo2019", 2, m_sq=-4.0, lam=8.0), (4, 6)),
    "phi4-3d": (Phi4(0.4, -0.7, 0.3, 3), (2, 4, 3)),
    "free-1d": (FreeScalar(0.3, 1), (5,)),
    "free-2d": (FreeScalar(1.7, 2), (4, 6)),
}
cases = pytest.mark.parametrize(("action", "shape"), CASES.values(), ids=CASES)


class WrongForce(Phi4):
    """A force with the factor 4 of the quartic term forgotten."""

    def force(self, field):
        return super().force(field) + 3 * self.c4 * field**3


class ByAutodiff(AbstractAction):
    """An action as a user may write it: no force of its own."""

    def __call__(self, field):
        return jnp.sum(jnp.cosh(field)) + 0.5 * jnp.sum(field * jnp.roll(field, 1, 0))

    @property
    def symmetries(self):
        return frozenset({"z2"})


def random_field(shape, dtype=np.float64):
    return jnp.asarray(np.random.default_rng(5).normal(size=shape).astype(dtype))


@cases
def test_force_passes_the_self_check(action, shape):
    assert force_error(action, jax.random.key(0), shape) < 1e-7


@cases
def test_force_is_minus_the_gradient(action, shape):
    field = random_field(shape)
    force, gradient = jax.jit(lambda field: (action.force(field), jax.grad(action)(field)))(field)
    np.testing.assert_allclose(force, -gradient, atol=1e-12)


def test_self_check_finds_a_wrong_force():
    assert force_error(WrongForce(-0.9, 0.0, 0.5, 1), jax.random.key(0), (8,)) > 0.1


def test_force_of_a_users_action_is_derived():
    action = ByAutodiff()
    assert force_error(action, jax.random.key(0), (3, 4)) < 1e-7
    assert action.coefficients is None
    field = random_field((3, 4), np.float32)
    expected = -np.sinh(field) - 0.5 * (np.roll(field, 1, 0) + np.roll(field, -1, 0))
    assert action.force(field).dtype == jnp.float32
    np.testing.assert_allclose(action.force(field), expected, atol=1e-5)


def test_self_check_works_where_double_precision_is_disabled():
    with jax.enable_x64(False):
        assert force_error(CASES["phi4-2d"][0], jax.random.key(0), (4, 4)) < 1e-3


@cases
def test_symmetries_declared_hold(action, shape):
    assert action.symmetries == {"z2", "translations", "point-group"}
    field = random_field(shape)
    images = [field, -field, np.flip(field, 0), *(np.roll(field, 1, axis) for axis in range(field.ndim))]
    actions = jax.jit(jax.vmap(action))(jnp.asarray(images))
    np.testing.assert_allclose(actions[1:], actions[0], rtol=1e-13)


def test_exchange_of_axes_is_a_symmetry():
    action, field = CASES["phi4-2d"][0], random_field((4, 4))
    np.testing.assert_allclose(action(field.T), action(field), rtol=1e-14)


@cases
def test_single_precision_field_is_summed_in_double(action, shape):
    field = random_field(shape, np.float32)
    summed, exact = jax.jit(lambda field: (action(field), action(field.astype(jnp.float64))))(field)
    assert summed.dtype == jnp.float64
    assert jax.eval_shape(action.force, field).dtype == jnp.float32
    np.testing.assert_allclose(summed, exact, rtol=1e-5)


@cases
def test_batch_in_place_of_a_configuration_is_refused(action, shape):
    """Else the batch axis would silently become one more dimension of the lattice."""
    batch = jnp.zeros((3, *shape))
    with pytest.raises(InputError, match=rf"action: takes one configuration of {len(shape)} dimensions.*jax\.vmap"):
        action(batch)
    assert jax.vmap(action)(batch).shape == (3,)
