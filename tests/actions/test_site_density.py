"""One site given its neighbors: everything against quadrature in one dimension."""

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


def extended(site, h):
    """(log Z1, <phi>) by the trapezoidal rule in extended precision, on a grid around the maxima."""
    c2, c4, h = (np.longdouble(x) for x in (site.c2, site.c4, h))
    peaks = np.roots([4 * site.c4, 0, 2 * site.c2, -float(h)])
    peaks = peaks[np.abs(peaks.imag) < 1e-6 * (1 + np.abs(peaks))].real
    lowest = min(c2 * x**2 + c4 * x**4 - h * x for x in peaks.astype(np.longdouble))
    width = 1 / np.sqrt(max(2 * site.c2 + 12 * site.c4 * np.max(peaks**2), 0) + np.sqrt(site.c4))
    ends = [peaks.min() - width, peaks.max() + width]
    for side, step in enumerate((-width, width)):
        while c2 * ends[side] ** 2 + c4 * ends[side] ** 4 - h * ends[side] - lowest < 42:
            ends[side] += step
    x = np.linspace(*(np.longdouble(end) for end in ends), int(10 * (ends[1] - ends[0]) / width))
    weight = np.exp(lowest - (c2 * x**2 + c4 * x**4 - h * x))
    total = weight.sum()
    return np.log(total * (x[1] - x[0])) - lowest, (weight * x).sum() / total


@pytest.mark.parametrize("c4", [1e-8, 0.5, 1e4])
@pytest.mark.parametrize("ratio", [-9.0, -3.0, -1e-3, 0.0, 0.7, 30.0, 1e4])
def test_log_partition_is_exact_over_decades(c4, ratio):
    """c2 of either sign, every source from 0 to where phi^4 alone binds the site; in both precisions."""
    site = SiteDensity(ratio * c4**0.5, c4)
    scale = c4**0.25 * max(1.0, abs(ratio)) ** 0.5
    sources = scale * np.array([0.0, 1e-3, 0.3, -1.0, 3.0, -20.0, 300.0, 1e4])
    for dtype, tolerance in ((np.float64, 4e-14), (np.float32, 2e-6)):
        h = sources.astype(dtype)
        values, means = jax.jit(jax.vmap(jax.value_and_grad(site.log_partition)))(h)
        assert values.dtype == means.dtype == dtype
        exact, exact_means = np.array([extended(site, x) for x in h]).T
        values, means = np.asarray(values), np.asarray(means)
        width = float(site.envelope(jnp.zeros(())).width)
        assert np.max(np.abs(values - exact) / (1 + np.abs(exact))) < tolerance
        assert np.max(np.abs(means - exact_means) / (width + np.abs(exact_means))) < tolerance


@pytest.mark.parametrize(("lam", "h"), [(1e-5, 198.0), (1e-5, 396.0), (1e-6, 1300.0)])
def test_weak_coupling_in_the_broken_phase(lam, h):
    site = SiteDensity(1 - 2 * lam, lam)
    exact, mean = extended(site, h)
    value, slope = jax.value_and_grad(site.log_partition)(jnp.asarray(h))
    assert float(value) == pytest.approx(float(exact), rel=1e-13)
    assert float(slope) == pytest.approx(float(mean), rel=1e-13)
    # Drawing follows the same envelope: nearly all that is proposed is kept.
    key = jax.random.key(3)
    kept = site.update(key, jnp.full(1000, h), jnp.full(1000, slope))[1]
    assert jnp.mean(kept, dtype=float) > 0.7


@pytest.mark.parametrize(
    ("c2", "c4"), [(1 - 2e6, 1e6), (-30.0, 1e-3), (-1e-7, 1.0), (1e-12, 1.0), (1e4, 1e-8), (-100.0, 1e-4)]
)
def test_log_z_over_decades(c2, c4):
    exact = float(extended(SiteDensity(c2, c4), 0.0)[0])
    assert SiteDensity(c2, c4).log_z == pytest.approx(exact, rel=2e-15, abs=1e-14)


def test_what_cannot_be_computed_is_refused():
    with pytest.raises(InputError, match="too narrow for 301 points"):
        SiteDensity(-50.0, 1.0).log_partition(jnp.asarray(0.0))
    with pytest.raises(InputError, match="c4=1e-40 beside c2=1 is too small to be computed with; give 0"):
        SiteDensity(1.0, 1e-40)
