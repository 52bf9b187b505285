from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import Lattice
from trivmap.errors import InputError
from trivmap.samplers import FourierMass, UnitMass
from trivmap.spaces import Real

LATTICE = Lattice((6, 4))
M_SQ = 0.3


def matrix(operator):
    """Of a linear operator on fields, V x V."""
    unit = jnp.eye(LATTICE.volume).reshape(-1, *LATTICE.shape)
    return np.asarray(jax.vmap(operator)(unit)).reshape(LATTICE.volume, -1)


def expected_masses():
    """(khat^2 + m^2) / (2d + m^2) as a matrix in position space."""
    laplacian = np.zeros((*LATTICE.shape, *LATTICE.shape))
    for x in np.ndindex(LATTICE.shape):
        laplacian[(*x, *x)] += 4
        for axis in (0, 1):
            for step in (-1, 1):
                y = list(x)
                y[axis] = (y[axis] + step) % LATTICE.shape[axis]
                laplacian[(*x, *y)] -= 1
    laplacian = laplacian.reshape(LATTICE.volume, -1)
    return (laplacian + M_SQ * np.eye(LATTICE.volume)) / (4 + M_SQ)


def test_velocity_is_the_inverse_mass_matrix():
    kinetic = FourierMass(LATTICE, m_sq=M_SQ, dtype=jnp.float64)
    np.testing.assert_allclose(matrix(kinetic.velocity) @ expected_masses(), np.eye(LATTICE.volume), atol=1e-12)
    assert np.average(kinetic.masses, weights=LATTICE.orbit_sizes) == pytest.approx(1, rel=1e-14)


def test_momenta_have_that_covariance_and_energy():
    kinetic = FourierMass(LATTICE, m_sq=M_SQ, dtype=jnp.float64)
    count = 20_000
    momenta = jax.jit(jax.vmap(partial(kinetic.momentum, space=Real())))(jax.random.split(jax.random.key(0), count))
    flat = np.asarray(momenta).reshape(count, -1)
    covariance, expected = flat.T @ flat / count, expected_masses()
    spread = np.sqrt((expected**2 + np.multiply.outer(np.diag(expected), np.diag(expected))) / count)
    assert np.max(np.abs(covariance - expected) / spread) < 5
    energies = np.asarray(jax.jit(jax.vmap(kinetic.energy))(momenta))
    half = LATTICE.volume / 2
    assert abs(energies.mean() - half) < 4 * np.sqrt(half / count)


def test_a_heavy_field_has_unit_mass():
    kinetic, unit = FourierMass(LATTICE, m_sq=1e12, dtype=jnp.float64), UnitMass(LATTICE, jnp.float64)
    key = jax.random.key(3)
    np.testing.assert_allclose(kinetic.momentum(key, Real()), unit.momentum(key, Real()), atol=1e-10)
    p = unit.momentum(key, Real())
    np.testing.assert_allclose(kinetic.velocity(p), p, atol=1e-10)
    assert unit.energy(p) == pytest.approx(float(jnp.sum(p**2)) / 2)


@pytest.mark.parametrize("m_sq", [0.0, -1.0, float("nan"), float("inf")])
def test_masses_that_make_no_sense(m_sq):
    with pytest.raises(InputError, match="fourier_mass"):
        FourierMass(LATTICE, m_sq=m_sq, dtype=jnp.float32)
