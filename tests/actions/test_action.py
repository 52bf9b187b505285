"""The contract of an action: its force, its symmetries, one configuration at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import InputError, Lattice
from trivmap.actions import (
    XY,
    AbstractAction,
    Decimated,
    FreeScalar,
    Phi4,
    force_error,
    require_symmetries,
    symmetry_errors,
)
from trivmap.actions.nearest_neighbor import require_dimension
from trivmap.actions.symmetry import EVERY, closed


class InAField(Phi4):
    """One with a constant external field, whatever it may declare."""

    external: float = 0.1
    declared: frozenset[str] = frozenset({"translations", "point-group"})

    def __init__(self, external=0.1, declared=frozenset({"translations", "point-group"})):
        super().__init__(-0.9, 0.3, 0.5, 2)
        self.external, self.declared = external, declared

    def __call__(self, field):
        return super().__call__(field) - self.external * jnp.sum(field, dtype=float)

    def force(self, field):
        return super().force(field) + self.external

    @property
    def symmetries(self):
        return self.declared


class Striped(Phi4):
    """One with a mass that alternates from site to site: only even translations are left."""

    def __call__(self, field):
        return super().__call__(field) + 0.1 * jnp.sum(
            jnp.asarray(Lattice(field.shape).parity, field.dtype) * field**2, dtype=float
        )

    def force(self, field):
        return -jax.grad(self.__call__)(field).astype(field.dtype)

    @property
    def symmetries(self):
        return frozenset({"z2", "even-translations", "point-group"})


CASES = {
    "phi4-1d": (Phi4(-0.9, 0.0, 0.5, 1), (8,)),
    "phi4-2d": (Phi4.from_couplings("albergo2019", 2, m_sq=-4.0, lam=8.0), (4, 6)),
    "phi4-3d": (Phi4(0.4, -0.7, 0.3, 3), (2, 4, 3)),
    "free-1d": (FreeScalar(0.3, 1), (5,)),
    "free-2d": (FreeScalar(1.7, 2), (4, 6)),
    "xy-1d": (XY(0.7, 1), (5,)),
    "xy-2d": (XY(1.1, 2), (2, 4)),
    "field": (InAField(), (4, 4)),
    "stripes": (Striped(-0.9, 0.3, 0.5, 2), (4, 4)),
    "decimated": (Decimated(Phi4(-0.9, 0.3, 0.5, 2), Lattice((4, 4))), (4, 4)),
}
SYMMETRIES = {
    "field": {"translations", "point-group"},
    "stripes": {"z2", "even-translations", "point-group"},
    "decimated": {"z2", "even-translations", "point-group"},
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
    assert force_error(action, jax.random.key(0), Lattice(shape)) < 1e-7


@cases
def test_force_is_minus_the_gradient(action, shape):
    field = random_field(shape)
    force, gradient = jax.jit(lambda field: (action.force(field), jax.grad(action)(field)))(field)
    np.testing.assert_allclose(force, -gradient, atol=1e-12)


def test_self_check_finds_a_wrong_force():
    assert force_error(WrongForce(-0.9, 0.0, 0.5, 1), jax.random.key(0), Lattice((8,))) > 0.1


def test_force_of_a_users_action_is_derived():
    action = ByAutodiff()
    assert force_error(action, jax.random.key(0), Lattice((3, 4))) < 1e-7
    assert action.coefficients is None
    field = random_field((3, 4), np.float32)
    expected = -np.sinh(field) - 0.5 * (np.roll(field, 1, 0) + np.roll(field, -1, 0))
    assert action.force(field).dtype == jnp.float32
    np.testing.assert_allclose(action.force(field), expected, atol=1e-5)


def test_self_check_works_where_double_precision_is_disabled():
    with jax.enable_x64(False):
        assert force_error(CASES["phi4-2d"][0], jax.random.key(0), Lattice((4, 4))) < 1e-3


@pytest.mark.parametrize("name", CASES)
def test_symmetries_declared_are_those_it_has(name):
    action, shape = CASES[name]
    assert action.symmetries == SYMMETRIES.get(name, {"z2", "translations", "point-group"})
    errors = symmetry_errors(action, jax.random.key(3), Lattice(shape))
    assert errors.keys() == EVERY
    for symmetry, error in errors.items():
        assert error < 1e-13 if symmetry in closed(action.symmetries) else error > 1e-4, symmetry
    require_symmetries(action, Lattice(shape), closed(action.symmetries))


def test_a_symmetry_declared_but_lacked_is_refused():
    lattice = Lattice((4, 4))
    with pytest.raises(InputError, match=r"action: InAField declares the symmetry 'z2', but S changes under it, by"):
        require_symmetries(InAField(declared=frozenset({"z2"})), lattice)
    with pytest.raises(InputError, match="the flow has the symmetry 'z2', but S changes under it"):
        require_symmetries(InAField(), lattice, {"z2"})
    with pytest.raises(InputError, match="z2"):
        require_symmetries(InAField(1e-5, frozenset({"z2"})), lattice)
    with jax.enable_x64(False):
        require_symmetries(CASES["phi4-2d"][0], lattice)
        with pytest.raises(InputError, match="z2"):
            require_symmetries(InAField(declared=frozenset({"z2"})), lattice)


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


def test_a_field_that_is_not_real_is_refused():
    """It would lose its imaginary part without a word; asked directly, as annotated arguments are checked here."""
    for field, name in ((jnp.ones((4, 4), complex), "complex128"), (jnp.ones((4, 4), int), "int64")):
        with pytest.raises(InputError, match=f"action: takes a real floating-point field, got {name}"):
            require_dimension(field, 2)
