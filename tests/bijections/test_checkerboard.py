import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import Lattice
from trivmap.bijections.checkerboard import half_shape, merge, split

SHAPES = [(2,), (8,), (4, 6), (2, 2), (2, 4, 4), (4, 2, 2, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_halves_hold_the_sites_of_their_colour(shape):
    lattice = Lattice(shape)
    field = jnp.asarray(np.arange(float(lattice.volume)).reshape(shape))
    for half, colour in zip(split(lattice, field), (0, 1), strict=True):
        assert half.shape == half_shape(lattice)
        np.testing.assert_array_equal(np.sort(np.ravel(half)), np.sort(np.asarray(field)[lattice.parity == colour]))


@pytest.mark.parametrize("shape", SHAPES)
def test_merge_undoes_split(shape):
    lattice = Lattice(shape)
    field = jnp.asarray(np.random.default_rng(1).normal(size=shape))
    np.testing.assert_array_equal(merge(lattice, *split(lattice, field)), field)
