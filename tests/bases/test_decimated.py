"""The free field on the even sites: the marginal of the whole one, against its covariance matrix."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from trivmap import InputError, Lattice
from trivmap.actions import Decimated, Phi4
from trivmap.bases import DecimatedFreeField, FreeField
from trivmap.fourier import apply_spectrum
from trivmap.support import Support

KEY = jax.random.key(5)


def base(shape, seed=0):
    """One with factors far from those of a start."""
    whole = FreeField(Lattice(shape), mass=0.7, dtype="float64")
    factor = 0.4 * np.random.default_rng(seed).normal(size=whole.log_factor.shape)
    return DecimatedFreeField(eqx.tree_at(lambda b: b.log_factor, whole, jnp.asarray(factor)))


def covariance(whole):
    """<phi(x) phi(y)> of the whole field, V x V."""
    variances = jnp.exp(2 * whole.log_width())
    units = jnp.eye(whole.lattice.volume).reshape(-1, *whole.lattice.shape)
    rows = jax.vmap(lambda unit: apply_spectrum(whole.lattice, variances, unit))(units)
    return np.asarray(rows).reshape(whole.lattice.volume, -1)


@pytest.mark.parametrize("shape", [(4,), (4, 6), (2, 4), (4, 2, 4)])
def test_marginal(shape):
    decimated = base(shape)
    even = decimated.lattice.parity.ravel() == 0
    exact = multivariate_normal(np.zeros(even.sum()), covariance(decimated.full)[np.ix_(even, even)])
    z = decimated.noise(KEY)
    x, log_density, score = decimated.push(z)
    flat = np.asarray(x).ravel()
    assert np.max(np.abs(flat[~even])) < 1e-14
    assert float(log_density) == pytest.approx(exact.logpdf(flat[even]), abs=1e-10)
    assert float(decimated.log_density(x)) == pytest.approx(float(log_density), abs=1e-10)
    np.testing.assert_allclose(score, jax.grad(decimated.log_density)(x), atol=1e-10)
    # x is a linear function of z with that covariance.
    other = jnp.where(decimated.lattice.parity == 1, 7.0, z)
    assert decimated.push(other)[1] == log_density
    jacobian = np.asarray(jax.jacobian(lambda z: decimated.push(z)[0])(z)).reshape(even.size, even.size)
    found = (jacobian @ jacobian.T)[np.ix_(even, even)]
    np.testing.assert_allclose(found, covariance(decimated.full)[np.ix_(even, even)], atol=1e-12)


def test_casts_and_carries_the_whole_field():
    action, lattice = Phi4(-0.576, 0.0, 0.5, 2), Lattice((6, 6))
    whole = FreeField.hartree(Lattice((4, 4)), action, dtype="float64")
    carried = DecimatedFreeField(whole).resize(lattice, Decimated(action, lattice))
    assert carried.support is Support.EVEN
    assert carried.lattice == lattice
    np.testing.assert_allclose(carried.full.log_width(), whole.resize(lattice, action).log_width())
    assert carried.astype("float32").noise(KEY).dtype == jnp.float32


def test_odd_extents_are_refused():
    with pytest.raises(InputError, match="even"):
        DecimatedFreeField(FreeField(Lattice((4, 5)), mass=0.7, dtype="float64"))
