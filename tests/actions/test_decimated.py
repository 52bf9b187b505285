"""Odd sites integrated out: against quadrature over them, and their density given the rest."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import InputError, Lattice
from trivmap.actions import AbstractAction, Decimated, FreeScalar, Phi4, force_error

KEY = jax.random.key(3)


def integrated(action, field, parity):
    """-log of the integral of exp(-S) over the odd sites, by the trapezoidal rule on the whole action."""
    grid, width = np.linspace(-7, 7, 141, retstep=True)
    odd = np.argwhere(parity == 1)
    fields = np.repeat(np.asarray(field)[None], len(grid) ** len(odd), axis=0)
    for site, values in zip(odd, np.array(list(itertools.product(grid, repeat=len(odd)))).T, strict=True):
        fields[(slice(None), *site)] = values
    exponent = -np.asarray(jax.vmap(action)(jnp.asarray(fields)))
    return -(np.log(np.sum(np.exp(exponent - exponent.max()))) + exponent.max() + len(odd) * np.log(width))


@pytest.mark.parametrize("shape", [(4,), (2, 2)])
@pytest.mark.parametrize("phi4", [True, False])
def test_integral_over_the_odd_sites(shape, phi4):
    lattice = Lattice(shape)
    action = Phi4(-0.8, 0.7, 0.5, len(shape)) if phi4 else FreeScalar(1.5, len(shape))
    decimated = Decimated(action, lattice)
    for number in range(2):
        field = jax.random.normal(jax.random.fold_in(KEY, number), shape)
        assert float(decimated(field)) == pytest.approx(integrated(action, field, lattice.parity), abs=1e-8)


@pytest.mark.parametrize("shape", [(4, 6), (4, 2, 4)])
def test_force_and_what_is_ignored(shape):
    lattice = Lattice(shape)
    action = Decimated(Phi4(-0.6, -0.1, 0.4, len(shape)), lattice)
    assert force_error(action, KEY, Lattice(shape)) < 1e-7
    field, other = jax.random.normal(KEY, (2, *shape))
    changed = jnp.where(lattice.parity == 1, other, field)
    assert action(changed) == action(field)
    assert np.all(np.asarray(action.force(field))[lattice.parity == 1] == 0)
    assert action(-field) == pytest.approx(float(action(field)), abs=1e-12)
    assert action.symmetries == {"z2", "even-translations", "point-group"}
    assert action.full is action.action


def test_odd_sites_are_drawn_from_their_density():
    """Mean and square of each, given its own neighbors, by quadrature."""
    lattice = Lattice((4, 4))
    whole = Phi4(-0.7, 0.1, 0.5, 2)
    action, field, count = Decimated(whole, lattice), jax.random.normal(KEY, (4, 4)), 20_000
    drawn = jax.jit(jax.vmap(lambda key: action.sample_conditional(key, field)))(jax.random.split(KEY, count))
    drawn = np.asarray(drawn)
    even = lattice.parity == 0
    assert np.all(drawn[:, even] == np.asarray(field)[even])
    assert not np.any(drawn[0, ~even] == np.asarray(field)[~even])
    values = np.asarray(field)
    h = 0.7 * sum(np.roll(np.where(even, values, 0), shift, axis) for shift in (1, -1) for axis in (0, 1))
    grid = np.linspace(-6, 6, 2001)
    weight = np.exp(h[~even][:, None] * grid - 0.1 * grid**2 - 0.5 * grid**4)
    for power in (1, 2):
        exact = weight @ grid**power / weight.sum(axis=1)
        found = drawn[:, ~even] ** power
        error = found.std(axis=0) / count**0.5
        assert np.max(np.abs(found.mean(axis=0) - exact) / error) < 3.5
    # The sites are independent of each other.
    assert np.max(np.abs(np.corrcoef(drawn[:, ~even].T) - np.eye(8))) < 4.5 / count**0.5
    assert np.all(Phi4(-0.7, 0.1, 0.5, 2).sample_conditional(KEY, field) == field)


class Rough(AbstractAction):
    def __call__(self, field):
        return jnp.sum(field**2)

    @property
    def symmetries(self):
        return frozenset()


def test_refusals():
    with pytest.raises(InputError, match="even"):
        Decimated(Phi4(-0.7, 0.1, 0.5, 2), Lattice((4, 5)))
    with pytest.raises(InputError, match=r"model\.sites: even needs an action with coefficients"):
        Decimated(Rough(), Lattice((4, 4)))
    with pytest.raises(InputError, match="too narrow"):
        Decimated(Phi4(-0.7, -60.0, 1.0, 2), Lattice((4, 4)))(jnp.ones((4, 4)))
