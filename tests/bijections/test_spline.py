"""The rational-quadratic spline by itself: smoothness, tails, knots, monotonicity, its Z2 form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from tests.maps import filled
from trivmap import InputError, Lattice
from trivmap.bijections import Coupling, DenseConditioner, Spline

INTERVAL = 2.0
SPLINE = Spline(bins=5, interval=INTERVAL)
forward = jax.jit(SPLINE.forward)
inverse = jax.jit(SPLINE.inverse)


@jax.jit
def derivatives(x, p):
    """Gradients of y and log y' with respect to the site's value and its parameters, and the same of the inverse."""
    ones = jnp.ones_like(x)
    results = []
    for function in (SPLINE.forward, SPLINE.inverse):
        _, pull = jax.vjp(function, x, p)
        results += [*pull((ones, 0 * ones)), *pull((0 * ones, ones))]
    return results


def parameters(sites: int, scale: float = 1.0, seed: int = 1, dtype=np.float64):
    return jnp.asarray((scale * np.random.default_rng(seed).normal(size=(SPLINE.count, sites))).astype(dtype))


def knots(p):
    """Positions of all knots (sites, bins + 1) and of their images."""
    left, _, bottom, _, _, _ = table(p)
    ends = np.full((1, p.shape[1]), INTERVAL)
    return np.concatenate([left, ends]), np.concatenate([bottom, ends])


def table(p):
    """(left, width, bottom, height, slope, next slope) of every bin, from the formulas alone."""
    bins = SPLINE.bins
    p = np.asarray(p, np.float64)

    def lengths(logits):
        shares = scipy.special.softmax(logits, axis=0)
        return 2 * INTERVAL * (1e-3 + (1 - 1e-3 * bins) * shares)

    widths, heights = lengths(p[:bins]), lengths(p[bins : 2 * bins])
    inner = 1e-3 + (1 - 1e-3) * np.logaddexp(0, p[2 * bins :] + np.log(np.expm1(1.0)))
    slopes = np.concatenate([np.ones((1, p.shape[1])), inner, np.ones((1, p.shape[1]))])
    starts = [np.cumsum(values, axis=0) - values - INTERVAL for values in (widths, heights)]
    return starts[0], widths, starts[1], heights, slopes[:-1], slopes[1:]


def by_formula(x, p):
    """Equations (19) to (22) of arXiv:1810.07246 and 1906.04032, one site after another."""
    y, slope = np.array(x), np.ones_like(x)
    tables = table(p)
    for site, value in enumerate(x):
        if abs(value) < INTERVAL:
            bin_ = np.sum(value >= tables[0][:, site]) - 1
            left, width, bottom, height, d0, d1 = (column[bin_, site] for column in tables)
            s, t = height / width, (value - left) / width
            denominator = s + (d1 + d0 - 2 * s) * t * (1 - t)
            y[site] = bottom + height * (s * t**2 + d0 * t * (1 - t)) / denominator
            slope[site] = s**2 * (d1 * t**2 + 2 * s * t * (1 - t) + d0 * (1 - t) ** 2) / denominator**2
    return y, np.log(slope)


def test_values_are_those_of_the_formula():
    x = np.linspace(-2.5, 2.5, 64)
    p = parameters(64)
    for actual, expected in zip(forward(jnp.asarray(x), p), by_formula(x, p), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_parameters_of_zero_give_the_identity():
    x = jnp.linspace(-2.5, 2.5, 64)
    y, log_gradient = forward(x, jnp.zeros((SPLINE.count, 64)))
    np.testing.assert_allclose(y, x, atol=1e-14)
    np.testing.assert_allclose(log_gradient, 0.0, atol=1e-14)


@pytest.mark.parametrize("scale", [1.0, 10.0, 1000.0])
@pytest.mark.parametrize("distance", [INTERVAL, np.nextafter(INTERVAL, 3), 2.1, 1e3, 1e30, 1e300])
def test_identity_outside_with_finite_gradients(distance, scale):
    """Mistake seen in earlier codes: spline tails never reached, NaN outside the interval."""
    x = jnp.asarray(np.where(np.arange(64) % 2, 1.0, -1.0) * distance)
    p = parameters(64, scale)
    for function in (forward, inverse):
        y, log_gradient = function(x, p)
        np.testing.assert_array_equal(y, x)
        np.testing.assert_array_equal(log_gradient, 0.0)
    of_y, of_y_by_p, of_log, of_log_by_p, *of_inverse = derivatives(x, p)
    np.testing.assert_array_equal(of_y, 1.0)
    for gradient in (of_y_by_p, of_log, of_log_by_p):
        np.testing.assert_array_equal(gradient, 0.0)
    np.testing.assert_array_equal(of_inverse[0], 1.0)
    for gradient in of_inverse[1:]:
        np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("scale", [1.0, 10.0, 1000.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_gradients_are_finite_on_and_beside_the_knots(scale, dtype):
    p = parameters(64, scale, dtype=dtype)
    positions, images = knots(p)
    for exact, function in ((positions, forward), (images, inverse)):
        for row in exact.astype(dtype):
            for x in (row, np.nextafter(row, dtype(9)), np.nextafter(row, dtype(-9))):
                assert all(np.all(np.isfinite(value)) for value in function(jnp.asarray(x), p))
                assert all(np.all(np.isfinite(value)) for value in derivatives(jnp.asarray(x), p))


def test_knots_are_mapped_to_knots_with_the_slopes_given():
    p = parameters(64)
    positions, images = knots(p)
    slopes = np.concatenate([table(p)[4], np.ones((1, 64))])
    for x, expected, slope in zip(positions, images, slopes, strict=True):
        y, log_gradient = forward(jnp.asarray(x), p)
        np.testing.assert_allclose(y, expected, atol=1e-13)
        np.testing.assert_allclose(log_gradient, np.log(slope), atol=1e-11)


def test_derivative_exactly_on_a_knot_is_the_slope_there():
    """With an even number of bins symmetric parameters put a knot on 0 exactly."""
    spline = Spline(4, 2.0)
    rng = np.random.default_rng(6)
    odd, even = (jnp.asarray(rng.normal(size=(count, 1))) for count in spline.parity_counts)

    @jax.jit
    def at_origin(odd, even):
        p = spline.symmetrize(0 * odd, even)
        functions = (lambda x: spline.forward(x, p), lambda y: spline.inverse(y, p))
        return [jax.jvp(function, (jnp.zeros(1),), (jnp.ones(1),)) for function in functions]

    ((y, log_gradient), (slope, _)), ((x, inverse_log_gradient), (inverse_slope, _)) = at_origin(odd, even)
    assert float(y[0]) == float(x[0]) == 0.0
    np.testing.assert_allclose([slope, 1 / inverse_slope], np.exp(log_gradient)[0], rtol=1e-12)
    np.testing.assert_allclose(inverse_log_gradient, -log_gradient, rtol=1e-12)
    assert abs(log_gradient[0]) > 0.1


@pytest.mark.parametrize("which", range(SPLINE.bins + 1))
def test_slope_is_continuous_at_every_knot_and_at_the_ends(which):
    p = parameters(64)
    x = knots(p)[0][which]
    (below, below_slope), (above, above_slope) = (forward(jnp.asarray(x + step), p) for step in (-1e-9, 1e-9))
    np.testing.assert_allclose(below, above, atol=1e-7)
    np.testing.assert_allclose(below_slope, above_slope, atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 2e-4)])
def test_round_trip_and_monotonicity(dtype, tolerance):
    x = np.sort(np.random.default_rng(2).uniform(-2.2, 2.2, size=64)).astype(dtype)
    p = jnp.broadcast_to(parameters(1, 1.0, dtype=dtype), (SPLINE.count, 64))
    y, log_gradient = forward(jnp.asarray(x), p)
    assert np.all(np.diff(y) > 0)
    back, back_log_gradient = inverse(y, p)
    np.testing.assert_allclose(back, x, atol=tolerance)
    np.testing.assert_allclose(back_log_gradient, -log_gradient, atol=20 * tolerance)


def test_symmetric_parameters_make_the_spline_jointly_odd():
    """g(-x; p(-f)) = -g(x; p(f)), where odd numbers change their sign with f and even ones do not."""
    rng = np.random.default_rng(3)
    odd, even = (jnp.asarray(rng.normal(size=(count, 64))) for count in SPLINE.parity_counts)
    x = jnp.asarray(rng.uniform(-2.5, 2.5, size=64))
    symmetrize = jax.jit(SPLINE.symmetrize)
    y, log_gradient = forward(x, symmetrize(odd, even))
    mirrored, mirrored_log_gradient = forward(-x, symmetrize(-odd, even))
    np.testing.assert_allclose(mirrored, -y, atol=1e-13)
    np.testing.assert_allclose(mirrored_log_gradient, log_gradient, atol=1e-12)


def test_symmetric_parameters_miss_nothing():
    """Every plain parameter vector is p(odd, even) for some (odd, even): the Z2 form loses no freedom at given f."""
    odd, even = SPLINE.parity_counts
    units = np.eye(odd + even)
    columns = jax.jit(SPLINE.symmetrize)(jnp.asarray(units[:odd]), jnp.asarray(units[odd:]))
    assert np.linalg.matrix_rank(columns) == SPLINE.count == odd + even


def z2_coupling():
    """A coupling on two sites: the even one moves, given the odd one."""
    lattice = Lattice((2,))
    options = {"hidden": (3,), "activation": "tanh", "z2": True, "dtype": "float64", "key": jax.random.key(0)}
    return filled(lambda: Coupling(lattice, 0, SPLINE, DenseConditioner(lattice, SPLINE, **options)), 1.0)


@jax.jit
def push(coupling, points):
    return jax.vmap(coupling.forward)(points)


def test_z2_form_is_smooth_jointly_in_active_and_frozen_field():
    """Along lines through the origin, where a flip on some sign would break: no jump of the map nor of its slope."""
    coupling = z2_coupling()
    for direction in ([1.0, 0.0], [0.0, 1.0], [1.0, -0.7], [-0.3, 1.0]):
        step = 1e-4
        points = jnp.asarray(np.outer(np.arange(-20, 21) * step, direction))
        y, log_det = push(coupling, points)
        second = np.diff(np.asarray(y)[:, 0], n=2) / step**2
        # A jump of the slope would be a second difference of order 1 / step.
        assert np.max(np.abs(second)) < 100.0
        assert np.max(np.abs(np.diff(log_det))) < 100.0 * step


def test_z2_form_can_move_the_conditional_mean():
    """What oddness in the active site alone could not do: y(0; f) is not 0, and it is odd in f."""
    frozen = jnp.asarray(np.outer(np.linspace(-1.0, 1.0, 41), [0.0, 1.0]))
    y = np.asarray(push(z2_coupling(), frozen)[0])[:, 0]
    assert abs(y[0]) > 0.1
    np.testing.assert_allclose(y, -y[::-1], atol=1e-13)


@pytest.mark.parametrize("bins", [-1, 0, 1, 501])
def test_number_of_bins_is_checked(bins):
    with pytest.raises(InputError, match=rf"^bins: must be between 2 and 500, got {bins}"):
        Spline(bins, 1.0)


@pytest.mark.parametrize("interval", [0.0, -1.0, np.nan, np.inf])
def test_interval_is_checked(interval):
    with pytest.raises(InputError, match=rf"^interval: must be (greater than 0|a finite number), got {interval}"):
        Spline(4, interval)


@pytest.mark.parametrize("bins", [2, 500])
def test_any_number_of_bins_is_monotone_and_invertible(bins):
    spline = Spline(bins, 3.0)
    x = jnp.linspace(-3.1, 3.1, 101)
    p = np.broadcast_to(np.random.default_rng(5).normal(size=(spline.count, 1)), (spline.count, 101))

    @jax.jit
    def round_trip(x, p):
        y, _ = spline.forward(x, p)
        return y, spline.inverse(y, p)[0]

    y, back = round_trip(x, jnp.asarray(p))
    assert np.all(np.diff(y) > 0)
    np.testing.assert_allclose(back, x, atol=1e-9)
