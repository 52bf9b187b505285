import math

import jax.numpy as jnp
import numpy as np
import pytest

from tests.oracles import FreeFieldOracle
from trivmap import InputError, Lattice
from trivmap.actions import FreeScalar, Phi4


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4)])
def test_action_in_momentum_space(shape):
    """S = 1/2 V^-1 sum_k (khat^2 + m^2) |phi_k|^2."""
    field = np.random.default_rng(3).normal(size=shape)
    lattice, m_sq = Lattice(shape), 0.6
    modes = np.abs(np.fft.fftn(field)) ** 2
    expected = 0.5 * np.sum((lattice.momentum_squared + m_sq) * modes) / lattice.volume
    np.testing.assert_allclose(FreeScalar(m_sq, len(shape))(jnp.asarray(field)), expected, rtol=1e-13)


@pytest.mark.parametrize("shape", [(8,), (4, 6), (2, 4, 4)])
def test_same_as_phi4_with_its_coefficients(shape):
    action, field = FreeScalar(0.6, len(shape)), jnp.asarray(np.random.default_rng(3).normal(size=shape))
    other = Phi4(*action.coefficients, len(shape))
    np.testing.assert_allclose(other(field), action(field), rtol=1e-13)
    np.testing.assert_allclose(other.force(field), action.force(field), atol=1e-13)


@pytest.mark.parametrize("shape", [(8,), (5, 3), (2, 4, 4)])
def test_log_z_against_the_determinant(shape):
    """Z = (2 pi)^{V/2} det^{-1/2} of the matrix of S, built from the force on unit vectors."""
    action, volume = FreeScalar(0.4, len(shape)), math.prod(shape)
    matrix = np.stack([-np.ravel(action.force(jnp.asarray(row.reshape(shape)))) for row in np.eye(volume)])
    expected = 0.5 * (volume * math.log(2 * math.pi) - np.linalg.slogdet(matrix)[1])
    assert action.log_z(Lattice(shape)) == pytest.approx(expected, abs=1e-10)
    c1, c2, _ = action.coefficients
    assert action.log_z(Lattice(shape)) == pytest.approx(FreeFieldOracle(shape, c1, c2).log_z, abs=1e-10)


@pytest.mark.parametrize("m_sq", [0.0, -0.5, 1e-9, math.nan, math.inf])
def test_massless_and_tachyonic_fields_are_refused(m_sq):
    with pytest.raises(InputError, match=r"^m_sq: must be (at least 1e-08|a finite number), got"):
        FreeScalar(m_sq, 2)


def test_a_small_mass_is_not_lost_to_rounding():
    # A zero mode of its natural size beside fluctuations of order one, at single precision.
    noise = np.random.default_rng(1).normal(size=(16, 16))
    action = FreeScalar(1e-4, 2)
    for mean in (6.0, 60.0):
        field = np.float32(noise + mean)
        exact = float(action(jnp.asarray(field, jnp.float64)))
        assert float(action(jnp.asarray(field))) == pytest.approx(exact, abs=1e-4)
        force = action.force(jnp.asarray(field, jnp.float64))
        np.testing.assert_allclose(action.force(jnp.asarray(field)), force, atol=3e-5)
