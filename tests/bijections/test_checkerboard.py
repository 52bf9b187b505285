import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import Lattice
from trivmap.bijections.checkerboard import embed, half_shape, merge, pick, split

SHAPES = [(2,), (8,), (4, 6), (2, 2), (2, 4, 4), (4, 2, 2, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_halves_hold_the_sites_of_their_color(shape):
    lattice = Lattice(shape)
    field = jnp.asarray(np.arange(float(lattice.volume)).reshape(shape))
    for half, color in zip(split(lattice, field), (0, 1), strict=True):
        assert half.shape == half_shape(lattice)
        np.testing.assert_array_equal(np.sort(np.ravel(half)), np.sort(np.asarray(field)[lattice.parity == color]))


@pytest.mark.parametrize("shape", SHAPES)
def test_merge_undoes_split(shape):
    lattice = Lattice(shape)
    field = jnp.asarray(np.random.default_rng(1).normal(size=shape))
    np.testing.assert_array_equal(merge(lattice, *split(lattice, field)), field)


@pytest.mark.parametrize("color", [0, 1])
@pytest.mark.parametrize("shape", [(8,), (4, 6), (2, 4, 4)])
def test_one_color_alone(shape, color):
    """`embed` leaves the sites of the color and zeros elsewhere; `pick` takes that color of every channel."""
    lattice = Lattice(shape)
    fields = np.random.default_rng(1).normal(size=(3, *shape))
    halves = [split(lattice, jnp.asarray(field))[color] for field in fields]
    np.testing.assert_array_equal(embed(lattice, halves[0], color), fields[0] * (lattice.parity == color))
    np.testing.assert_array_equal(pick(lattice, jnp.asarray(np.moveaxis(fields, 0, -1)), color), halves)
