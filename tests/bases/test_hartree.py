"""The Hartree mass: a root of its gap equation, and the minimum of the reverse KL over Gaussians."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from trivmap import InputError, Lattice
from trivmap.actions import FreeScalar, Phi4
from trivmap.bases import hartree_mass

# Symmetric, near critical, deep in the broken phase, strongly coupled, antiferromagnetic, decoupled sites.
THEORIES = {
    "symmetric": ((8, 8), (-0.576, 0.0, 0.5)),
    "critical": ((4, 6), (-0.687, 0.0, 0.5)),
    "broken": ((4, 4), (-0.75, -1.5, 0.2)),
    "deep": ((6,), (-1.0, -6.0, 0.1)),
    "strong": ((2, 4, 4), (-2.0, 2.0, 50.0)),
    "antiferromagnetic": ((4, 3), (0.8, -0.3, 0.4)),
    "decoupled": ((5,), (0.0, 1.0, 0.3)),
}
theories = pytest.mark.parametrize(("shape", "c"), THEORIES.values(), ids=THEORIES)


def reverse_kl(log_variances, lattice, c1, c2, c4):
    """<log q + S> for the Gaussian with that variance of every momentum orbit, up to a constant.

    <S>/V = c1 sum_mu <phi(x) phi(x+mu)> + c2 <phi^2> + 3 c4 <phi^2>^2, and <log q> = -1/2 sum_k log v_k.
    """
    variances = np.exp(log_variances)[lattice.orbits]
    phi2 = variances.mean()
    neighbor = np.mean(variances * (2 * lattice.dimension - lattice.momentum_squared)) / 2
    action = lattice.volume * (c1 * neighbor + c2 * phi2 + 3 * c4 * phi2**2)
    return action - 0.5 * np.sum(np.log(variances))


@theories
def test_hartree_is_the_minimum_of_the_reverse_kl(shape, c):
    """Over one free variance per momentum orbit, by an optimizer that knows nothing of the gap equation."""
    lattice = Lattice(shape)
    count = len(lattice.orbit_sizes)
    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000}
    result = scipy.optimize.minimize(
        reverse_kl, np.zeros(count), (lattice, *c), "L-BFGS-B", "3-point", bounds=[(-9.0, 9.0)] * count, options=options
    )
    expected = 1 / (-c[0] * lattice.orbit_momenta + hartree_mass(lattice, *c))
    np.testing.assert_allclose(np.exp(result.x), expected, rtol=2e-5)
    assert reverse_kl(np.log(expected), lattice, *c) <= result.fun + 1e-12


@theories
def test_gap_equation_is_solved_to_rounding(shape, c):
    lattice, (c1, c2, c4) = Lattice(shape), c
    mass = hartree_mass(lattice, *c)
    propagator = 1 / (-c1 * lattice.momentum_squared + mass)
    assert np.all(propagator > 0)
    terms = np.array([2 * c2, 2 * lattice.dimension * c1, 12 * c4 * propagator.mean()])
    assert abs(mass - terms.sum()) < 1e-11 * np.abs(terms).sum()


@pytest.mark.parametrize("m_sq", [1e-6, 0.3, 40.0])
def test_mass_of_a_free_field_is_its_own(m_sq):
    c1, c2, c4 = FreeScalar(m_sq, 2).coefficients
    assert hartree_mass(Lattice((4, 6)), c1, c2, c4) == pytest.approx(m_sq, rel=1e-8)


def test_mass_rises_with_the_temperature():
    """At temperature T the action is S / T: its Gaussian widens, though by less than the factor T."""
    lattice, c = Lattice((8, 8)), np.array([-0.7, 0.0, 0.5])
    variance = [np.mean(1 / (-c[0] / t * lattice.momentum_squared + hartree_mass(lattice, *(c / t)))) for t in (1, 2)]
    assert variance[0] < variance[1] < 2 * variance[0]


@pytest.mark.parametrize("c", [(-1.0, 1.0, -0.1), (-1.0, 2.0, 0.0), (-1.0, 0.0, math.nan)])
def test_theories_without_integral_are_refused(c):
    with pytest.raises(InputError, match=r"quartic|finite"):
        hartree_mass(Lattice((4, 4)), *c)


def test_hartree_energy_is_that_of_the_action():
    """The oracle's <S> against the action itself, on samples of the Gaussian."""
    lattice, c = Lattice((4, 4)), (-0.6, 0.1, 0.5)
    variances = 1 / (0.6 * lattice.momentum_squared + hartree_mass(lattice, *c))
    rng = np.random.default_rng(1)
    modes = np.fft.fftn(rng.normal(size=(20000, 4, 4)), axes=(1, 2)) * np.sqrt(variances)
    fields = np.fft.ifftn(modes, axes=(1, 2)).real
    links = fields * (np.roll(fields, 1, 1) + np.roll(fields, 1, 2))
    actions = np.sum(c[0] * links + c[1] * fields**2 + c[2] * fields**4, axis=(1, 2))
    assert float(Phi4(*c, 2)(jnp.asarray(fields[0]))) == pytest.approx(actions[0], rel=1e-12)
    log_variances = np.log(1 / (0.6 * lattice.orbit_momenta + hartree_mass(lattice, *c)))
    expected = reverse_kl(log_variances, lattice, *c) + 0.5 * np.sum(np.log(variances))
    assert abs(actions.mean() - expected) < 4 * actions.std() / np.sqrt(len(actions))
