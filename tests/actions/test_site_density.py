"""One site given its neighbours: everything against quadrature in one dimension."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest

from trivmap import InputError
from trivmap.actions import SiteDensity

SITES = [(0.0, 0.5), (1.3, 0.0), (-3.0, 2.0), (-0.5, 1e-2)]
SOURCES = np.array([0.0, 0.7, -2.5])
COUNT = 6000


def potential(site, h, phi):
    return site.c2 * phi**2 + site.c4 * phi**4 - h * phi


def distribution(site, h):
    """The cumulative distribution, by the trapezoidal rule on a grid that carries all of it."""
    grid = np.linspace(-12, 12, 20001)
    exponent = potential(site, h, grid)
    cumulative = np.cumsum(np.exp(exponent.min() - exponent))
    return lambda phi: np.interp(phi, grid, cumulative / cumulative[-1])


@pytest.mark.parametrize(("c2", "c4"), [*SITES, (-0.5, 1e-3), (-19.0, 10.0), (1e4, 1e-3), (0.0, 1e-6)])
def test_log_z(c2, c4):
    site = SiteDensity(c2, c4)
    lowest = -(c2**2) / (4 * c4) if c2 < 0 else 0.0
    peak = np.sqrt(-c2 / (2 * c4)) if c2 < 0 else 0.0
    scale = 1 / np.sqrt(2 * c2) if c2 > 1 else 1 / (c4 or 1) ** 0.25
    top = peak + 12 * scale
    exact, _ = quad(
        lambda phi: np.exp(lowest - potential(site, 0, phi)), 0, top, points=[peak], limit=500, epsabs=0, epsrel=1e-13
    )
    assert site.log_z == pytest.approx(np.log(2 * exact) - lowest, abs=1e-12)


@pytest.mark.parametrize(("c2", "c4"), SITES)
def test_envelope_lies_above_and_is_the_tightest(c2, c4):
    site, phi = SiteDensity(c2, c4), np.linspace(-4, 4, 101)

    def kept(h, precision):
        """The acceptance: quadrature of the site's density over that of the normal one times its height."""
        square = (precision / 2 - c2) / (2 * c4)
        mass = c4 * square**2 + h**2 / (2 * precision) + 0.5 * np.log(2 * np.pi / precision)
        fine = np.linspace(-12, 12, 20001)
        return np.sum(np.exp(-potential(site, h, fine) - mass)) * (fine[1] - fine[0])

    for h in SOURCES:
        envelope = site.envelope(jnp.asarray(h))
        below = np.asarray(site.log_acceptance(envelope, jnp.asarray(phi)))
        normal = -0.5 * ((phi - envelope.mean) / envelope.width) ** 2
        assert np.all(below <= 0)
        np.testing.assert_allclose(np.ptp(below + normal + potential(site, h, phi)), 0, atol=1e-10)
        if c4:
            precision = float(envelope.width) ** -2
            assert 1 > kept(h, precision) > max(kept(h, 1.05 * precision), kept(h, 0.95 * precision))


@pytest.mark.parametrize(("c2", "c4"), SITES)
def test_draws_have_the_distribution(c2, c4):
    """Exact draws, and 40 updates of sites that begin far away."""
    site = SiteDensity(c2, c4)
    h = jnp.asarray(np.repeat(SOURCES[:, None], COUNT, axis=1))

    @jax.jit
    def run(key):
        def update(number, state):
            phi, total = state
            phi, accepted = site.update(jax.random.fold_in(key, number), h, phi)
            return phi, total + jnp.mean(accepted, dtype=float)

        phi, total = jax.lax.fori_loop(0, 40, update, (jnp.full_like(h, 3.0), jnp.zeros(())))
        return site.sample(key, h), phi, total / 40

    drawn, updated, accepted = run(jax.random.key(7))
    for h_, exact, after in zip(SOURCES, drawn, updated, strict=True):
        cumulative = distribution(site, h_)
        assert kstest(np.asarray(exact), cumulative).pvalue > 1e-3
        assert kstest(np.asarray(after), cumulative).pvalue > 1e-3
        # The test would see another source.
        assert kstest(np.asarray(exact), distribution(site, h_ + 0.3)).pvalue < 1e-6
    assert 0.3 < accepted <= 1


def test_float32_stays_float32():
    site = SiteDensity(0.0, 0.5)
    h = jnp.asarray([0.3, -100.0], jnp.float32)
    phi = site.sample(jax.random.key(1), h)
    assert phi.dtype == jnp.float32 and site.update(jax.random.key(2), h, phi)[0].dtype == jnp.float32
    assert jnp.all(jnp.isfinite(phi))


@pytest.mark.parametrize(("c2", "c4"), [(0.0, 0.0), (-1.0, 0.0), (1.0, -0.1), (np.nan, 1.0), (np.inf, 0.0)])
def test_without_an_integral_it_is_refused(c2, c4):
    with pytest.raises(InputError, match="site density: exp"):
        SiteDensity(c2, c4)


@pytest.mark.parametrize(("c2", "c4"), [*SITES, (-2.0, 0.5), (1e4, 1e-3), (0.0, 1e-6), (2.0, 0.022)])
def test_log_partition_and_its_derivative(c2, c4):
    """Small and huge sources, against adaptive quadrature; the derivative is the mean."""
    site = SiteDensity(c2, c4)
    scale = 1 / np.sqrt(2 * c2) if c2 > 1 else 1 / (c4 or 1) ** 0.25
    for h in np.array([0.0, 0.3, -1.7, 8.0, 300.0]) / scale:
        where = np.linspace(-1, 1, 200001) * (20 * scale + 3 * (abs(h) / (4 * c4)) ** (1 / 3) if c4 else 2 * abs(h))
        where = where if c4 else where + np.linspace(-1, 1, 200001) * 20 * scale
        exponent = -potential(site, h, where)
        top = exponent.max()
        weight = np.exp(exponent - top)
        exact = np.log(weight.sum() * (where[1] - where[0])) + top
        value, slope = jax.value_and_grad(lambda x: site.log_partition(x))(jnp.asarray(h))
        assert float(value) == pytest.approx(exact, abs=2e-10, rel=1e-12)
        assert float(slope) == pytest.approx(weight @ where / weight.sum(), abs=2e-9, rel=1e-9)
    assert float(site.log_partition(jnp.asarray(0.0))) == pytest.approx(site.log_z, abs=2e-10)


def test_wells_that_are_too_narrow_for_the_quadrature_are_refused():
    with pytest.raises(InputError, match="too narrow"):
        SiteDensity(-50.0, 1.0).log_partition(jnp.asarray(0.0))
