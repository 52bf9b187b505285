"""The experiment of docs/results/one_colour.py stands on these identities."""

import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap.actions import Phi4
from trivmap.bases import FreeField
from trivmap.lattice import Lattice

FOLDER = str(Path(__file__).resolve().parents[2] / "docs" / "results")
ACTION = Phi4.from_couplings("bosetti2015", 2, beta=0.6, lam=0.45)


@pytest.fixture(scope="module")
def one_colour():
    sys.path.insert(0, FOLDER)
    import one_colour

    yield one_colour
    sys.path.remove(FOLDER)


@pytest.fixture(scope="module")
def even_sites(one_colour):
    return sys.modules["even_sites"]


def test_action_is_that_of_the_whole_lattice_with_the_odd_sites_integrated_out(one_colour, even_sites):
    even, odd = np.random.default_rng(0).normal(size=(2, 8, 4))
    effective = even_sites.OneColour(ACTION)
    h = -ACTION.c1 * np.asarray(effective.neighbours(jnp.asarray(even)))
    log_z1, _ = even_sites.site_moments(ACTION.c2, ACTION.c4, h)
    conditional = -ACTION.c2 * odd**2 - ACTION.c4 * odd**4 + h * odd - log_z1
    whole = ACTION(jnp.asarray(one_colour.assembled(even, odd)))
    assert abs(float(effective(jnp.asarray(even))) - conditional.sum() - float(whole)) < 1e-7


def test_base_is_the_marginal_of_the_free_field(even_sites):
    base = even_sites.EvenFreeField(8, ACTION)
    whole = FreeField.hartree(Lattice((8, 8)), ACTION, dtype=jnp.float64)
    to_whole = jax.jacobian(lambda z: whole.push(z)[0])(jnp.zeros((8, 8))).reshape(64, 64)
    to_even = jax.jacobian(lambda z: base.push(z)[0])(jnp.zeros((8, 4), jnp.float32)).reshape(32, 32)
    x, j = np.indices((8, 4))
    even = (8 * x + (x + 2 * j) % 8).ravel()
    expected = (to_whole @ to_whole.T)[np.ix_(even, even)]
    np.testing.assert_allclose(to_even @ to_even.T, expected, atol=3e-6)
    field, log_density, score = base.push(jax.random.normal(jax.random.key(0), (8, 4), jnp.float32))
    vector = np.asarray(field, np.float64).ravel()
    exact = -0.5 * vector @ np.linalg.solve(expected, vector) - 0.5 * np.linalg.slogdet(2 * np.pi * expected)[1]
    assert abs(float(log_density) - exact) < 1e-4 and abs(float(base.log_density(field)) - exact) < 1e-4
    np.testing.assert_allclose(score.ravel(), -np.linalg.solve(expected, vector), atol=1e-4)


@pytest.mark.parametrize("name", ["even sites", "even sites, features on odd sites too"])
def test_map_has_the_density_it_says_and_the_symmetries_of_the_lattice(one_colour, even_sites, name):
    flow = even_sites.EvenContinuous(8, even_sites.MAPS[name], steps=12)
    noise = 0.1 * jax.random.normal(jax.random.key(1), flow.coefficients.shape, jnp.float32)
    flow = eqx.tree_at(lambda f: f.coefficients, flow, noise)
    x = jax.random.normal(jax.random.key(2), (8, 4), jnp.float32)
    y, log_det = flow.forward(x)
    jacobian = np.asarray(jax.jacobian(lambda x: flow.forward(x)[0])(x), np.float64).reshape(32, 32)
    assert abs(float(log_det)) > 0.1 and abs(float(log_det) - np.linalg.slogdet(jacobian)[1]) < 1e-3
    back, log_det_back = flow.inverse(y)
    np.testing.assert_allclose(back, x, atol=1e-4)
    assert abs(float(log_det + log_det_back)) < 1e-3
    whole = one_colour.assembled(np.asarray(x), np.zeros((8, 4)))
    mapped = one_colour.assembled(np.asarray(y), np.zeros((8, 4)))
    u, j = np.indices((8, 4))
    for moved in (lambda f: np.roll(f, (1, 3), (0, 1)), lambda f: f.T, lambda f: np.roll(f[::-1], 1, 0), lambda f: -f):
        again, _ = flow.forward(jnp.asarray(moved(whole)[u, (u + 2 * j) % 8], jnp.float32))
        np.testing.assert_allclose(again, moved(mapped)[u, (u + 2 * j) % 8], atol=1e-4)


def test_orbits_hold_equal_momenta_and_all_modes_count_once(one_colour, even_sites):
    sites = even_sites.EvenSites(8)
    assert abs(sites.weights.sum() - 1) < 1e-15
    propagator = sites.modes(even_sites.kernel(8, 0.5), 0)
    for orbit in range(sites.orbits.max() + 1):
        assert np.ptp(propagator[sites.orbits == orbit]) < 1e-12
    factors = np.random.default_rng(0).normal(size=sites.orbits.max() + 1)
    kernel = one_colour.assembled(np.fft.irfft2(factors[sites.orbits], (8, 4)), np.zeros((8, 4)))
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-12)
    np.testing.assert_allclose(kernel, np.roll(kernel[::-1], 1, axis=0), atol=1e-12)


def test_odd_sites_have_the_moments_of_their_density(one_colour, even_sites):
    h = np.array([0.0, 0.7, 4.0])
    u = (np.arange(20000) + 0.5) / 20000
    drawn = one_colour.draw_odd(ACTION.c2, ACTION.c4, np.repeat(h, len(u)), np.tile(u, 3)).reshape(3, -1)
    log_z1, mean = even_sites.site_moments(ACTION.c2, ACTION.c4, h)
    np.testing.assert_allclose(drawn.mean(axis=1), mean, atol=1e-5)
    for row, field, normalisation in zip(drawn, h, log_z1, strict=True):
        density = np.exp(-ACTION.c2 * row**2 - ACTION.c4 * row**4 + field * row - normalisation)
        np.testing.assert_allclose(np.gradient(row, u)[500:-500] * density[500:-500], 1.0, atol=1e-5)
    far = even_sites.log_z1(ACTION.c2, ACTION.c4, jnp.linspace(-20.0, 20.0, 401))
    np.testing.assert_allclose(
        far, even_sites.site_moments(ACTION.c2, ACTION.c4, np.linspace(-20, 20, 401))[0], atol=1e-7
    )
