"""The contract of a base, for every base: a new one is one line in `CASES`. Oracle: the full covariance matrix."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from tests.documented import my_theory
from tests.maps import filled
from trivmap import InputError, Lattice
from trivmap.actions import Phi4
from trivmap.actions.symmetry import images
from trivmap.bases import FreeField, Gaussian
from trivmap.tuning import tuning

CASES = {
    "gaussian": lambda lattice, dtype: Gaussian(lattice, dtype=dtype),
    "gaussian-fixed": lambda lattice, dtype: Gaussian(lattice, learnable=False, dtype=dtype),
    "free-field": lambda lattice, dtype: FreeField(lattice, mass=0.7, stiffness=1.3, dtype=dtype),
    "free-field-fixed": lambda lattice, dtype: FreeField(lattice, mass=0.7, learnable=False, dtype=dtype),
    "antiferromagnetic": lambda lattice, dtype: FreeField(lattice, mass=4.0, stiffness=-0.7, dtype=dtype),
    "logistic": lambda lattice, dtype: my_theory().Logistic(lattice, dtype),
}
NOT_NORMAL = {"logistic": scipy.stats.logistic}
# No two momentum orbits of these have the same khat^2: between such orbits a resize averages.
SHAPES = {
    "gaussian": (3, 4),
    "gaussian-fixed": (5,),
    "free-field": (3, 4),
    "free-field-fixed": (2, 3, 2),
    "antiferromagnetic": (6,),
    "logistic": (3, 2),
}


@eqx.filter_jit
def evaluate(base, z):
    x, log_density, score = base.push(z)
    return SimpleNamespace(
        x=x,
        log_density=log_density,
        log_noise=base.log_noise(z),
        score=score,
        again=base.log_density(x),
        gradient=jax.grad(base.log_density)(x),
        jacobian=jax.jacfwd(lambda z: base.push(z)[0])(z).reshape(z.size, z.size),
        batch=jax.vmap(base.push)(jnp.stack([2 * z, z])),
        of_score=eqx.filter_grad(lambda base: jnp.sum(base.push(z)[2] ** 2))(base),
        of_the_rest=eqx.filter_grad(lambda base: jnp.sum(z * base.push(z)[0]) + base.push(z)[1])(base),
    ).__dict__


@pytest.fixture(scope="module", params=CASES)
def case(request):
    lattice = Lattice(SHAPES[request.param])
    base = filled(lambda: CASES[request.param](lattice, "float64"), 0.4)
    z = jnp.asarray(np.random.default_rng(1).normal(size=lattice.shape))
    return SimpleNamespace(name=request.param, base=base, lattice=lattice, z=z, **evaluate(base, z))


def test_density_is_the_normalized_normal_of_the_full_covariance(case):
    if case.name in NOT_NORMAL:
        pytest.skip("not normal")
    covariance = case.jacobian @ case.jacobian.T
    expected = scipy.stats.multivariate_normal(cov=covariance).logpdf(np.ravel(case.x))
    assert float(case.log_density) == pytest.approx(expected, abs=1e-10)
    np.testing.assert_allclose(np.ravel(case.score), -np.linalg.solve(covariance, np.ravel(case.x)), atol=1e-11)


def test_density_is_that_of_the_noise_divided_by_the_jacobian(case):
    """log q(x(z)) = log r(z) - log |det dx/dz|, with r what `noise` draws."""
    noise = NOT_NORMAL.get(case.name, scipy.stats.norm)
    assert float(case.log_noise) == pytest.approx(float(np.sum(noise.logpdf(case.z))), abs=1e-12)
    expected = float(case.log_noise) - np.linalg.slogdet(case.jacobian)[1]
    assert float(case.log_density) == pytest.approx(expected, abs=1e-10)
    assert float(case.again) == pytest.approx(expected, abs=1e-10)
    drawn = jax.vmap(case.base.noise)(jax.random.split(jax.random.key(8), 500))
    assert scipy.stats.kstest(np.ravel(drawn), noise.cdf).pvalue > 1e-3


def test_score_is_the_gradient_of_the_log_density(case):
    np.testing.assert_allclose(case.score, case.gradient, atol=1e-12)


def test_symmetries_claimed_are_those_of_the_density(case):
    assert case.base.equivariant_under >= {"z2", "translations", "point-group"}
    density = eqx.filter_jit(lambda x: case.base.log_density(x))
    for name in case.base.equivariant_under:
        for image in images(case.lattice, name):
            assert float(density(image(case.x))) == pytest.approx(float(case.log_density), abs=1e-10), name


def test_one_configuration_alone_and_in_a_batch(case):
    for batch, alone in zip(case.batch, (case.x, case.log_density, case.score), strict=True):
        np.testing.assert_allclose(batch[1], alone, rtol=1e-13, atol=1e-13)


def test_noise_depends_on_the_key_alone(case):
    key = jax.random.key(3)
    noise = case.base.noise(key)
    assert noise.shape == case.lattice.shape
    np.testing.assert_array_equal(noise, CASES[case.name](case.lattice, "float64").noise(key))
    assert np.max(np.abs(noise - case.base.noise(jax.random.key(4)))) > 0.1


@pytest.mark.parametrize("x64", [True, False])
def test_single_precision_stays(case, x64):
    with jax.enable_x64(x64):
        base = CASES[case.name](case.lattice, jnp.float32)
        assert base.noise(jax.random.key(0)).dtype == jnp.float32
        x, log_density, score = eqx.filter_eval_shape(
            lambda base, z: base.push(z), base, jax.ShapeDtypeStruct(case.lattice.shape, jnp.float32)
        )
    assert x.dtype == score.dtype == jnp.float32
    assert log_density.dtype == (jnp.float64 if x64 else jnp.float32)


def test_parameters_are_those_asked_for(case):
    count = sum(leaf.size for leaf in jax.tree.leaves(case.base))
    orbits = len(case.lattice.orbit_sizes)
    expected = {"gaussian": 1, "gaussian-fixed": 0, "free-field-fixed": 0, "logistic": 1}
    assert count == expected.get(case.name, orbits)


def test_score_and_noise_are_constants_to_differentiation(case):
    """The score enters the path gradient as a number: its derivative in the parameters must be zero."""
    assert all(np.all(leaf == 0.0) for leaf in jax.tree.leaves(case.of_score))
    assert all(np.all(np.abs(leaf) > 1e-6) for leaf in jax.tree.leaves(case.of_the_rest))


def test_resize_keeps_the_spectrum_at_common_momenta(case):
    """On the doubled lattice every momentum of the old one is present, with its old variance."""
    doubled = Lattice(2 * extent for extent in case.lattice.shape)
    if case.name == "logistic":
        with pytest.raises(InputError, match="cannot be carried"):
            case.base.resize(doubled)
        return

    @eqx.filter_jit
    def resized_push(base, z):
        resized = base.resize(doubled)
        assert (resized.lattice, resized.dtype) == (doubled, base.dtype)
        return resized.push(z)[0]

    repeat = (2,) * case.z.ndim
    pushed = resized_push(case.base, jnp.tile(case.z, repeat))
    np.testing.assert_allclose(pushed, np.tile(case.x, repeat), atol=1e-12)


def test_free_field_starts_at_the_spectrum_asked_for():
    lattice = Lattice((4, 6))
    base = FreeField(lattice, mass=0.7, stiffness=1.3, dtype="float64")
    z = np.random.default_rng(1).normal(size=(4, 6))
    expected = np.fft.ifftn(np.fft.fftn(z) / np.sqrt(1.3 * lattice.momentum_squared + 0.7)).real
    np.testing.assert_allclose(base.push(jnp.asarray(z))[0], expected, atol=1e-13)


def test_sample_covariance_of_the_free_field():
    """<phi(0) phi(x)> of 5000 samples against the propagator, within 5 standard errors at every x."""
    lattice, count = Lattice((4, 4)), 5000
    base = FreeField(lattice, mass=0.5, dtype="float64")
    draw = jax.jit(jax.vmap(lambda key: base.push(base.noise(key))[0]))
    fields = np.asarray(draw(jax.random.split(jax.random.key(0), count)))
    power = np.abs(np.fft.fftn(fields, axes=(1, 2))) ** 2 / lattice.volume
    products = np.fft.ifftn(power, axes=(1, 2)).real
    expected = np.fft.ifftn(1 / (lattice.momentum_squared + 0.5)).real
    errors = products.std(axis=0) / np.sqrt(count)
    assert np.max(np.abs(products.mean(axis=0) - expected) / errors) < 5.0
    assert np.max(errors) < 0.03 * expected.max()


def test_large_free_field_in_single_precision():
    """Mistake seen in earlier codes: free-field code that dies at L=64 in float32. Against double precision."""
    lattice = Lattice((64, 64))
    z = np.random.default_rng(1).normal(size=lattice.shape)
    assert lattice.volume > tuning().matrix_sites
    results = [
        jax.jit(lambda z, dtype=dtype: FreeField(lattice, mass=0.05, dtype=dtype).push(z))(jnp.asarray(z, dtype))
        for dtype in (jnp.float32, jnp.float64)
    ]
    (x, log_density, score), (exact_x, exact_log_density, exact_score) = results
    np.testing.assert_allclose(x, exact_x, atol=3e-6)
    np.testing.assert_allclose(score, exact_score, atol=1e-5)
    # 4096 sites, log q = -3375: the sum loses nothing, only its terms are rounded.
    assert abs(float(log_density) - float(exact_log_density)) < 5e-5


@pytest.mark.parametrize(("mass", "stiffness"), [(0.0, 1.0), (-0.5, 1.0), (1.0, -0.5), (np.nan, 1.0), (np.inf, 1.0)])
def test_spectra_that_are_not_positive_are_refused(mass, stiffness):
    with pytest.raises(InputError, match=r"^mass: the spectrum .* must be positive and finite .*raise the mass"):
        FreeField(Lattice((4, 4)), mass=mass, stiffness=stiffness, dtype="float32")


def test_free_field_resized_to_other_couplings():
    """A Hartree start follows the action; a spectrum of a given mass does not."""
    old, new = (Phi4.from_couplings("bosetti2015", 2, beta=beta, lam=0.5) for beta in (0.5, 0.6))
    lattice = Lattice((6, 6))
    base = FreeField.hartree(Lattice((4, 4)), old, dtype="float64").resize(lattice, new)
    fresh = FreeField.hartree(lattice, new, dtype="float64")
    assert (base.mass, base.stiffness) == (fresh.mass, fresh.stiffness)
    assert base.log_factor.shape == (len(lattice.orbit_sizes),)
    massive = FreeField(Lattice((4, 4)), mass=0.7, dtype="float64").resize(lattice, new)
    assert (massive.mass, massive.stiffness) == (0.7, 1.0)


def test_noise_of_ones_own_without_its_density_is_refused():
    """Samplers that move in the noise would silently take it for normal."""

    class Uniform(Gaussian):
        def noise(self, key):
            return jax.random.uniform(key, self.lattice.shape, self.dtype)

    class Better(Uniform):
        def log_noise(self, z):
            return jnp.zeros(())

    with pytest.raises(InputError, match=r"Uniform: draws its own noise, but log_noise .*; give it log_noise\(z\)"):
        Uniform(Lattice((4,)), dtype="float32")
    Better(Lattice((4,)), dtype="float32")
