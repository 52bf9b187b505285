"""The contract of spaces. A new one is a line in `SPACES`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import InputError, Lattice
from trivmap.spaces import Angle, Real

LATTICE = Lattice((4, 6))
KEY = jax.random.key(5)
SPACES = {"real": Real(), "vector": Real(3), "angle": Angle()}
spaces = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def field_and_tangent(space, size=1.0):
    keys = jax.random.split(KEY)
    return space.disordered(keys[0], LATTICE, float), size * space.momentum(keys[1], LATTICE, float)


@spaces
def test_fields_and_tangents_have_the_shape_of_the_space(space):
    field, tangent = field_and_tangent(space)
    for each in (field, tangent, space.move(field, tangent), space.ordered(jnp.sum, 0, LATTICE, float)):
        assert each.shape == space.shape(LATTICE) == space.form(LATTICE, float).shape
        assert each.dtype == space.form(LATTICE, float).dtype
    assert all(each.shape == LATTICE.shape for each in space.components(field))
    assert hash(space) == hash(type(space)(*vars(space).values()))


@spaces
def test_a_move_is_undone_by_its_displacement(space):
    field, tangent = field_and_tangent(space, 0.4)
    moved = space.move(field, tangent)
    np.testing.assert_allclose(space.displacement(field, moved), tangent, atol=1e-12)
    back = space.move(moved, -tangent)
    np.testing.assert_allclose(space.displacement(field, back), 0, atol=1e-12)
    twice = space.move(space.move(field, tangent), tangent)
    np.testing.assert_allclose(space.displacement(twice, space.move(field, 2 * tangent)), 0, atol=1e-12)


@spaces
def test_the_tangent_of_a_function_is_its_slope_along_moves(space):
    field, direction = field_and_tangent(space)
    weights = jax.random.normal(KEY, (len(space.components(field)), *LATTICE.shape))

    def function(field):
        return sum(jnp.sum(w * s**3) for w, s in zip(weights, space.components(field), strict=True))

    slope = jnp.sum(space.tangent(field, jax.grad(function)(field)) * direction)
    by_moves = jax.grad(lambda t: function(space.move(field, t * direction)))(0.0)
    np.testing.assert_allclose(slope, by_moves, rtol=1e-12)


@spaces
def test_momenta_are_unit_normal(space):
    drawn = jax.vmap(lambda key: space.momentum(key, LATTICE, float))(jax.random.split(KEY, 4000))
    error = np.sqrt(2 / drawn.size)
    assert abs(np.mean(drawn**2) - 1) < 4 * error
    assert abs(np.mean(drawn)) < 4 / np.sqrt(drawn.size)


@spaces
def test_ordered_starts_of_opposite_sign_are_opposite(space):
    def energy(field):
        square = sum(each**2 for each in space.components(field))
        return jnp.sum((square - 4.0) ** 2)

    up, down = (space.ordered(energy, sign, LATTICE, float) for sign in (1, -1))
    for one, other in zip(space.components(up), space.components(down), strict=True):
        np.testing.assert_allclose(one, -other, atol=1e-12)
    lengths = sum(each**2 for each in space.components(up)) ** 0.5
    np.testing.assert_allclose(lengths, 2.0 if space.linear else 1.0, atol=1e-12)


def test_angles_are_uniform_and_stay_within_a_turn():
    drawn = np.ravel(jax.vmap(lambda key: Angle().disordered(key, LATTICE, float))(jax.random.split(KEY, 2000)))
    counts, _ = np.histogram(drawn, 20, (-np.pi, np.pi))
    expected = len(drawn) / 20
    assert counts.sum() == len(drawn)
    assert np.sum((counts - expected) ** 2 / expected) < 45  # chi^2 of 19 degrees of freedom: 1 in 1400
    moved = Angle().move(jnp.asarray([3.0, -3.0]), jnp.asarray([1.0, -20.0]))
    np.testing.assert_allclose(moved, [4.0 - 2 * np.pi, -23.0 + 8 * np.pi], atol=1e-12)


def test_a_field_without_components_is_refused():
    with pytest.raises(InputError, match="n: a real field needs a whole number of components, at least 1, got 0"):
        Real(0)
