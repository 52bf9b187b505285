"""Runge-Kutta methods against what their order promises, and their time grids against a plain loop."""

import math
from functools import cache, partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap.bijections.integrators import SCHEMES, integrate


@partial(jax.jit, static_argnames=("steps", "scheme", "span"))
def riccati(u, offset, *, steps, scheme, span=(0.0, 1.0)):
    """du/dt = 2 t u^2, so that 1/u + t^2 is constant; beside it the running integrals of t^p, p = 0 ... 4."""
    powers = jnp.arange(5.0)

    def velocity(state, time):
        return 2 * time * state[0] ** 2, time**powers

    return integrate(velocity, (u, jnp.zeros(5)), steps=steps, scheme=scheme, offset=offset, span=span)


def by_hand(u, nodes, scheme):
    """The stages of the low-storage form, one after another."""
    method = SCHEMES[scheme]
    for begin, end in pairwise(nodes):
        du = 0.0
        for a, b, c in zip(method.a, method.b, method.c, strict=True):
            du = a * du + (end - begin) * 2 * (begin + c * (end - begin)) * u**2
            u = u + b * du
    return u


@cache
def moved(scheme, steps):
    return float(riccati(jnp.asarray(0.5), None, steps=steps, scheme=scheme)[0])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_error_falls_at_the_order_of_the_scheme(scheme):
    coarse, fine = (abs(moved(scheme, steps) - 1.0) for steps in (8, 16))
    assert fine > 1e-9
    assert math.log2(coarse / fine) == pytest.approx(SCHEMES[scheme].order, abs=0.35)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_step_reproduces_the_series_of_the_exponential_up_to_the_order(scheme):
    """u(h) of du/dt = u is a polynomial in h: its coefficients are 1 / n! up to the order, and no further."""
    order, stages = SCHEMES[scheme].order, SCHEMES[scheme].stages
    rates = jnp.asarray(np.cos(np.pi * np.arange(stages + 1) / stages))
    values = jax.jit(lambda r: integrate(lambda u, t: r * u, jnp.ones_like(r), steps=1, scheme=scheme))(rates)
    coefficients = np.polynomial.polynomial.polyfit(np.asarray(rates), np.asarray(values), stages)
    exact = [1 / math.factorial(n) for n in range(stages + 1)]
    np.testing.assert_allclose(coefficients[: order + 1], exact[: order + 1], atol=1e-12)
    assert stages == order or abs(coefficients[order + 1] - exact[order + 1]) > 1e-4


@pytest.mark.parametrize("scheme", SCHEMES)
def test_powers_of_time_below_the_order_are_integrated_exactly(scheme):
    order = SCHEMES[scheme].order
    _, integrals = riccati(jnp.asarray(0.5), None, steps=1, scheme=scheme)
    exact = 1 / np.arange(1.0, 6.0)
    np.testing.assert_allclose(integrals[:order], exact[:order], atol=1e-13)
    assert abs(float(integrals[order]) - exact[order]) > 1e-5


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("u", [0.0, 1e-9, 0.3, 0.999999])
def test_grid_is_shifted_by_the_offset_and_cut(scheme, u):
    """Nodes 0, (1 - u)/n, ..., (n - u)/n, 1: one step more, and the same map to within its error."""
    steps = 8
    nodes = [0.0, *[(i - u) / steps for i in range(1, steps + 1)], 1.0]
    actual, integrals = riccati(jnp.asarray(0.5), jnp.asarray(u), steps=steps, scheme=scheme)
    assert float(actual) == pytest.approx(by_hand(0.5, nodes, scheme), abs=1e-14)
    np.testing.assert_allclose(integrals[:3], [1, 1 / 2, 1 / 3], atol=1e-14)
    unshifted = moved(scheme, steps)
    assert unshifted == pytest.approx(by_hand(0.5, np.arange(steps + 1) / steps, scheme), abs=1e-14)
    # The steps are no longer than those of the plain grid, nor are the errors.
    assert abs(float(actual) - 1.0) < 1.1 * abs(unshifted - 1.0)
    if u in (0.0, 1e-9, 0.999999):
        assert float(actual) == pytest.approx(unshifted, abs=1e-8)
    else:
        assert abs(float(actual) - unshifted) > 1e-7


@pytest.mark.parametrize("scheme", SCHEMES)
def test_backward_integrates_from_the_end(scheme):
    """From u(1) = 1 to u(0) = 1/2, at the times met on the way back; integrals change sign."""
    for offset in (None, jnp.asarray(0.4)):
        back, integrals = riccati(jnp.asarray(1.0), offset, steps=32, scheme=scheme, span=(1.0, 0.0))
        assert float(back) == pytest.approx(0.5, abs={"rk3": 2e-5, "rk4": 2e-6}[scheme])
        np.testing.assert_allclose(integrals[:3], [-1, -1 / 2, -1 / 3], atol=1e-14)


def test_part_of_the_time_is_integrated_in_steps_of_its_own():
    """From 1/4 to 3/4 and back, with the nodes of the offset scaled: 1/u + t^2 is kept, at t and not at its share."""
    span, offset = (0.25, 0.75), 0.3
    moved, integrals = riccati(jnp.asarray(0.5), jnp.asarray(offset), steps=4, scheme="rk4", span=span)
    nodes = [0.25, *[0.25 + 0.5 * (i - offset) / 4 for i in range(1, 5)], 0.75]
    assert float(moved) == pytest.approx(by_hand(0.5, nodes, "rk4"), abs=1e-14)
    assert float(moved) == pytest.approx(1 / (2.0 + 0.25**2 - 0.75**2), abs=1e-5)
    np.testing.assert_allclose(integrals[:3], [1 / 2, 1 / 4, (0.75**3 - 0.25**3) / 3], atol=1e-14)
    back, _ = riccati(moved, None, steps=4, scheme="rk4", span=span[::-1])
    assert float(back) == pytest.approx(0.5, abs=1e-5)


def test_derivative_is_that_of_the_steps_taken():
    """Reverse mode through recomputed stages against a difference quotient, and against du(1)/du(0) = u(1)^2/u(0)^2."""

    def function(u):
        return riccati(u, None, steps=16, scheme="rk4")[0]

    slope = float(jax.grad(function)(jnp.asarray(0.5)))
    quotient = (function(jnp.asarray(0.5 + 1e-5)) - function(jnp.asarray(0.5 - 1e-5))) / 2e-5
    assert slope == pytest.approx(float(quotient), rel=1e-9)
    assert slope == pytest.approx(4.0, abs=3e-4)


def test_every_part_of_the_state_keeps_its_precision():
    state = (jax.ShapeDtypeStruct((3,), jnp.float32), jax.ShapeDtypeStruct((), jnp.float64))

    def velocity(state, time):
        return time.astype(jnp.float32) * state[0], jnp.sum(state[0], dtype=jnp.float64)

    for offset in (None, jnp.asarray(0.25, jnp.float32)):
        moved = jax.eval_shape(lambda s, u=offset: integrate(velocity, s, steps=3, scheme="rk3", offset=u), state)
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype.name), moved) == (((3,), "float32"), ((), "float64"))


def test_a_number_of_steps_known_late_gives_the_same():
    def end(steps):
        return integrate(lambda u, t: -u * jnp.cos(t), jnp.ones(3), steps=steps, scheme="rk4")

    late = jax.jit(end)
    for steps in (1, 4, 7):
        np.testing.assert_allclose(late(jnp.asarray(steps)), end(steps), rtol=1e-13)
    assert late._cache_size() == 1
