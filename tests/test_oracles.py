"""The oracles against each other, where two of them describe one theory."""

import numpy as np
import pytest

from tests.oracles import ChainOracle, FreeFieldOracle, square_lattice


def test_ring_without_quartic_term_is_a_free_field():
    free, ring = FreeFieldOracle((6,), -1.0, 1.3), ChainOracle(6, -1.0, 1.3, 0.0)
    np.testing.assert_allclose(ring.log_z, free.log_z, atol=1e-10)
    np.testing.assert_allclose(ring.two_point, free.propagator, atol=1e-10)
    np.testing.assert_allclose(ring.binder, 0.0, atol=1e-10)
    np.testing.assert_allclose(ring.abs_magnetization, np.sqrt(2 / np.pi * ring.magnetization_squared), atol=1e-9)


def test_ring_does_not_depend_on_its_grid():
    coarse, fine = ChainOracle(8, -0.9, 0.0, 0.5), ChainOracle(8, -0.9, 0.0, 0.5, points=400, reach=5.0)
    for name in ("log_z", "phi2", "phi4", "two_point", "magnetization_squared", "binder"):
        np.testing.assert_allclose(getattr(coarse, name), getattr(fine, name), rtol=1e-10)


def test_square_is_a_ring_of_four_with_doubled_links():
    c1, c2, c4 = -0.5, 0.1, 0.5
    square, ring = square_lattice(c1, c2, c4), ChainOracle(4, 2 * c1, c2, c4)
    np.testing.assert_allclose(square.log_z, ring.log_z, rtol=1e-10)
    np.testing.assert_allclose(square.phi2, ring.phi2, rtol=1e-10)
    np.testing.assert_allclose(square.phi4, ring.phi4, rtol=1e-10)
    np.testing.assert_allclose(square.ising_energy, ring.two_point[1], rtol=1e-10)
    np.testing.assert_allclose(square.susceptibility, 4 * ring.magnetization_squared, rtol=1e-10)
    np.testing.assert_allclose(square.binder, ring.binder, rtol=1e-10)
    np.testing.assert_allclose(square.abs_magnetization, ring.abs_magnetization, rtol=1e-7)
    density = 2 * c1 * square.ising_energy + c2 * square.phi2 + c4 * square.phi4
    np.testing.assert_allclose(square.action_density, density, rtol=1e-10)


@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 4, 3)])
def test_free_samples_have_the_propagator(shape):
    oracle = FreeFieldOracle(shape, -1.0, len(shape) + 0.3)
    fields = oracle.sample(np.random.default_rng(0), 40000)
    products = fields[(slice(None), *[slice(0, 1)] * len(shape))] * fields
    error = products.std(axis=0) / np.sqrt(len(products))
    assert np.max(np.abs(products.mean(axis=0) - oracle.propagator) / error) < 4.5


def test_ring_samples_have_the_moments():
    oracle = ChainOracle(4, -1.2, 0.0, 0.5)
    fields = oracle.sample(np.random.default_rng(1), 20000)
    for values, exact in [
        (fields[:, 0] ** 2, oracle.phi2),
        (fields[:, 3] ** 4, oracle.phi4),
        (fields[:, 0] * fields[:, 3], oracle.two_point[1]),
        (fields[:, 1] * fields[:, 3], oracle.two_point[2]),
        (np.abs(fields.mean(axis=1)), oracle.abs_magnetization),
        (fields.mean(axis=1) ** 4, oracle.magnetization_moment(4)),
    ]:
        assert abs(values.mean() - exact) < 4 * values.std() / np.sqrt(len(values))
