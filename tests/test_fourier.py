from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import Lattice, fourier
from trivmap.fourier import Modes, apply_spectrum, interpolate_spectrum, orbit_sum
from trivmap.tuning import tuning

SHAPES = [(5,), (8,), (3, 5), (4, 6), (2, 4, 4), (3, 2, 5)]


def random_case(shape, dtype=np.float64):
    rng = np.random.default_rng(7)
    lattice = Lattice(shape)
    spectrum = rng.uniform(0.5, 2.0, size=len(lattice.orbit_sizes)).astype(dtype)
    return lattice, jnp.asarray(spectrum), jnp.asarray(rng.normal(size=shape).astype(dtype))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("largest_matrix", [0, 400], ids=["fft", "matrix"])
def test_every_mode_is_multiplied_by_the_number_of_its_orbit(shape, largest_matrix, monkeypatch):
    constants = replace(tuning(), matrix_sites=largest_matrix)
    monkeypatch.setattr(fourier, "tuning", lambda: constants)
    lattice, spectrum, field = random_case(shape)
    actual = jax.jit(lambda s, f: apply_spectrum(lattice, s, f))(spectrum, field)
    expected = np.fft.ifftn(np.fft.fftn(field) * np.asarray(spectrum)[lattice.orbits])
    assert np.max(np.abs(expected.imag)) < 1e-14
    np.testing.assert_allclose(actual, expected.real, atol=1e-13)


@pytest.mark.parametrize("shape", [(500,), (64, 64)])
def test_large_lattices_in_single_precision(shape):
    """Mistake seen in earlier codes: free-field code that asserts |imag| < 1e-9 in float32 and dies at L=64."""
    lattice, spectrum, field = random_case(shape, np.float32)
    actual = jax.jit(lambda s, f: apply_spectrum(lattice, s, f))(spectrum, field)
    assert actual.dtype == jnp.float32
    expected = np.fft.ifftn(np.fft.fftn(np.float64(field)) * np.float64(spectrum)[lattice.orbits]).real
    np.testing.assert_allclose(actual, expected, atol=3e-6)


def test_fft_and_matrix_have_the_same_gradient(monkeypatch):
    lattice, spectrum, field = random_case((4, 6))

    def gradient(largest_matrix):
        constants = replace(tuning(), matrix_sites=largest_matrix)
        monkeypatch.setattr(fourier, "tuning", lambda: constants)
        loss = jax.jit(jax.grad(lambda s: jnp.sum(jnp.sin(apply_spectrum(lattice, s, field)))))
        return loss(spectrum)

    np.testing.assert_allclose(gradient(0), gradient(400), atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_orbit_sum_is_the_sum_over_momenta(shape):
    lattice, spectrum, _ = random_case(shape)
    np.testing.assert_allclose(orbit_sum(lattice, spectrum), np.sum(np.asarray(spectrum)[lattice.orbits]), rtol=1e-14)


@pytest.mark.parametrize(("source", "target"), [((4, 4), (8, 8)), ((6,), (9,)), ((8, 8), (4, 6)), ((4, 4), (4, 4, 4))])
def test_interpolation_of_a_linear_function_of_momentum_is_exact(source, target):
    source, target = Lattice(source), Lattice(target)
    values = jnp.asarray(0.3 - 0.2 * source.orbit_momenta)
    reach = min(source.orbit_momenta.max(), target.orbit_momenta.max())
    known = target.orbit_momenta <= reach + 1e-12
    carried = jax.jit(lambda values: interpolate_spectrum(source, target, values))(values)
    np.testing.assert_allclose(carried[known], (0.3 - 0.2 * target.orbit_momenta)[known], atol=1e-13)
    # Beyond the largest momentum of the source the value there holds.
    np.testing.assert_allclose(carried[~known], 0.3 - 0.2 * reach, atol=1e-13)


def test_interpolation_to_the_same_lattice_averages_orbits_of_equal_momentum():
    """On 4x4 khat^2 = 4 belongs to momenta (2, 0), two of them, and (1, 1), four of them."""
    lattice = Lattice((4, 4))
    values = np.arange(6.0)
    degenerate = np.isclose(lattice.orbit_momenta, 4.0)
    assert lattice.orbit_representatives[degenerate].tolist() == [[1, 1], [2, 0]]
    expected = values.copy()
    expected[degenerate] = (4 * values[degenerate][0] + 2 * values[degenerate][1]) / 6
    actual = jax.jit(lambda values: interpolate_spectrum(lattice, lattice, values))(jnp.asarray(values))
    np.testing.assert_allclose(actual, expected, atol=1e-14)


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4)])
@pytest.mark.parametrize("method", ["fft", "matrix"])
def test_modes_carry_one_operator_per_leading_index(shape, method):
    """Three operators on two fields each, and back to the fields themselves."""
    lattice, axes = Lattice(shape), tuple(range(-len(shape), 0))
    modes, rng = Modes(lattice, method), np.random.default_rng(8)
    fields, spectra = rng.normal(size=(2, 3, *shape)), rng.normal(size=(3, len(lattice.orbit_sizes)))

    @jax.jit
    def both(fields):
        transform = modes.forward(fields)
        eigenvalues = jnp.asarray(modes.expand(spectra))[None]
        return modes.inverse(transform), modes.inverse(modes.scale(transform, eigenvalues))

    back, moved = both(jnp.asarray(fields))
    expected = np.fft.ifftn(np.fft.fftn(fields, axes=axes) * spectra[..., lattice.orbits], axes=axes).real
    np.testing.assert_allclose(back, fields, atol=1e-14)
    np.testing.assert_allclose(moved, expected, atol=5e-14)


@pytest.mark.parametrize("shape", [(2,), (5,), (3, 4), (2, 3, 4)])
def test_modes_of_the_matrix_are_those_of_an_orthogonal_one(shape):
    """V unit fields have V orthonormal modes, and each lies in one momentum orbit: khat^2 is diagonal in them."""
    lattice = Lattice(shape)
    modes, axes = Modes(lattice, "matrix"), tuple(range(1, 1 + len(shape)))
    unit = np.eye(lattice.volume).reshape(-1, *shape)
    matrix = np.asarray(modes.forward(jnp.asarray(unit)))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(lattice.volume), atol=1e-14)
    laplacian = sum(2 * unit - np.roll(unit, 1, axis) - np.roll(unit, -1, axis) for axis in axes)
    diagonal = matrix.T @ laplacian.reshape(lattice.volume, -1) @ matrix
    np.testing.assert_allclose(diagonal, np.diag(lattice.orbit_momenta[modes.labels]), atol=1e-13)


def test_the_method_follows_the_size_unless_it_is_given():
    assert [Modes(Lattice(shape)).method for shape in [(6, 6), (37,), (3, 3, 4), (64, 64)]] == [
        "matrix",
        "fft",
        "matrix",
        "fft",
    ]
    assert Modes(Lattice((4,)), "fft").method == "fft"
