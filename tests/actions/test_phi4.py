import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from tests.oracles import ChainOracle
from trivmap import InputError
from trivmap.actions import Phi4


def action_by_loops(field, c1, c2, c4):
    """The formula of the field's literature, site by site."""
    total = 0.0
    for site in itertools.product(*map(range, field.shape)):
        for axis in range(field.ndim):
            neighbor = list(site)
            neighbor[axis] = (neighbor[axis] + 1) % field.shape[axis]
            total += c1 * field[site] * field[tuple(neighbor)]
        total += c2 * field[site] ** 2 + c4 * field[site] ** 4
    return total


@pytest.mark.parametrize("shape", [(2,), (5,), (3, 4), (2, 2), (2, 3, 2)])
def test_action_is_the_formula_with_every_constant(shape):
    field = np.random.default_rng(3).normal(size=shape)
    action = Phi4(-1.3, 0.7, 0.4, len(shape))
    np.testing.assert_allclose(action(jnp.asarray(field)), action_by_loops(field, -1.3, 0.7, 0.4), rtol=1e-13)


def test_normalization_against_the_transfer_matrix():
    """Z of two sites by quadrature of exp(-S) equals tr T^2, which does not know this code's S."""
    c1, c2, c4 = -0.9, 0.2, 0.5
    action, grid = Phi4(c1, c2, c4, 1), np.linspace(-4.0, 4.0, 81)
    fields = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    links = np.roll(fields, 1, axis=1)
    assert float(action(jnp.asarray(fields[1234]))) == pytest.approx(
        np.sum(c1 * fields[1234] * links[1234] + c2 * fields[1234] ** 2 + c4 * fields[1234] ** 4), rel=1e-13
    )
    weights = np.exp([-action_by_loops(field, c1, c2, c4) for field in fields])
    assert math.log(weights.sum() * (grid[1] - grid[0]) ** 2) == pytest.approx(
        ChainOracle(2, c1, c2, c4).log_z, abs=1e-9
    )


def test_coefficients_are_those_given():
    action = Phi4(-1.0, 0.5, 0.25, 2)
    assert action.coefficients == (-1.0, 0.5, 0.25)


@pytest.mark.parametrize("c", [(-1.0, 1.0, -0.1), (1.0, 5.0, -1e-9)])
def test_negative_quartic_coupling_is_refused(c):
    """Mistake seen in earlier codes: negative lam accepted."""
    with pytest.raises(InputError, match=r"quartic coupling must not be negative.*c4="):
        Phi4(*c, 2)


@pytest.mark.parametrize("c", [(-1.0, 2.0, 0.0), (1.0, 2.0, 0.0), (-1.0, -3.0, 0.0), (0.0, 0.0, 0.0)])
def test_gaussian_without_integral_is_refused(c):
    with pytest.raises(InputError, match=r"only if c2 > d \|c1\|, got .*; raise the mass or the quartic coupling"):
        Phi4(*c, 2)


@pytest.mark.parametrize("c", [(-1.0, 2.0001, 0.0), (-1.0, -50.0, 1e-6), (3.0, 0.0, 0.1)])
def test_couplings_at_which_the_integral_exists_are_accepted(c):
    assert Phi4(*c, 2).coefficients == c


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_couplings_that_are_not_finite_are_refused(position, bad):
    c = [-1.0, 3.0, 0.5]
    c[position] = bad
    with pytest.raises(InputError, match=rf"couplings must be finite.*c{[1, 2, 4][position]}={bad}"):
        Phi4(*c, 2)
