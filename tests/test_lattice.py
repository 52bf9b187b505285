import itertools

import jaxtyping
import numpy as np
import pytest

from trivmap import InputError, Lattice

SHAPES = [(2,), (5,), (8,), (4, 4), (4, 6), (3, 5), (2, 4, 4), (3, 3, 3), (2, 3, 2, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_volume_and_dimension(shape):
    lattice = Lattice(shape)
    assert lattice.volume == np.zeros(shape).size
    assert lattice.dimension == len(shape)


def test_lattices_of_equal_shape_are_equal_and_hash_equal():
    assert Lattice([4, 6]) == Lattice((np.int64(4), 6)) != Lattice((6, 4))
    assert len({Lattice((4, 6)), Lattice([4, 6])}) == 1


@pytest.mark.parametrize("shape", [(8,), (4, 6), (2, 4, 4)])
def test_parity_differs_between_nearest_neighbors(shape):
    parity = Lattice(shape).parity
    assert parity.sum() == parity.size // 2
    assert parity[(0,) * len(shape)] == 0
    for axis in range(len(shape)):
        assert np.all(parity != np.roll(parity, 1, axis))


@pytest.mark.parametrize("shape", SHAPES)
def test_momentum_squared_is_the_spectrum_of_the_laplacian(shape):
    """Eigenvalues of -Laplacian on the plane wave of every momentum, in the order of the FFT."""
    point = np.zeros(shape)
    point[(0,) * len(shape)] = 1.0
    laplacian = sum(np.roll(point, s, axis) - point for axis in range(len(shape)) for s in (1, -1))
    np.testing.assert_allclose(Lattice(shape).momentum_squared, -np.fft.fftn(laplacian).real, atol=1e-13)


def images(displacement, shape):
    """Every displacement that the point group makes of one: by brute force over reflections and allowed exchanges."""
    axes = range(len(shape))
    for order in itertools.permutations(axes):
        if all(shape[order[a]] == shape[a] for a in axes):
            for signs in itertools.product((1, -1), repeat=len(shape)):
                yield tuple(signs[a] * displacement[order[a]] % shape[a] for a in axes)


@pytest.mark.parametrize("shape", [*SHAPES, (4, 2, 4)])
def test_orbits_are_those_of_the_point_group(shape):
    lattice = Lattice(shape)
    for site in np.ndindex(shape):
        expected = set(images(site, shape))
        assert expected == {tuple(x) for x in np.argwhere(lattice.orbits == lattice.orbits[site]).tolist()}


@pytest.mark.parametrize("shape", SHAPES)
def test_orbit_tables_agree_with_the_labels(shape):
    lattice = Lattice(shape)
    count = len(lattice.orbit_representatives)
    assert lattice.orbit_sizes.sum() == lattice.volume
    assert set(np.ravel(lattice.orbits)) == set(range(count))
    for label, representative in enumerate(lattice.orbit_representatives):
        assert lattice.orbits[tuple(representative)] == label
        assert np.count_nonzero(lattice.orbits == label) == lattice.orbit_sizes[label]
        # khat^2 is one number per orbit.
        np.testing.assert_allclose(lattice.momentum_squared[lattice.orbits == label], lattice.orbit_momenta[label])


def test_number_of_orbits_of_a_square():
    """L/2 + 1 folded coordinates, and pairs of them in any order."""
    assert [len(Lattice((extent, extent)).orbit_sizes) for extent in (4, 8, 20)] == [6, 15, 66]


@pytest.mark.parametrize("shape", [(3,), (4, 5), (4, 4, 3)])
def test_checkerboard_refuses_odd_extents(shape):
    """Mistake seen in earlier codes: odd lattices accepted by a checkerboard."""
    odd = next(extent for extent in shape if extent % 2)
    with pytest.raises(InputError, match=rf"lattice: .* has {odd}; use even extents"):
        Lattice(shape).require_checkerboard()


def test_checkerboard_accepts_even_extents():
    Lattice((2, 4, 6)).require_checkerboard()


@pytest.mark.parametrize("shape", [[], [1], [8, 1], [8, 0], [8, -8], [True, 4]])
def test_extents_below_two_are_refused(shape):
    with pytest.raises(InputError, match=r"lattice: needs at least one extent and every extent >= 2, got \["):
        Lattice(shape)


@pytest.mark.parametrize("shape", [8, "8x8", [8.0, 8], [[2], 2], None])
def test_extents_that_are_no_integers_are_refused(shape, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users run it
    with pytest.raises(InputError, match=r"lattice: extents must be integers, .* write for example \[8, 8\]"):
        Lattice(shape)


def test_a_long_list_is_cut():
    with pytest.raises(InputError) as caught:
        Lattice(range(10_000))
    assert len(str(caught.value)) < 120
