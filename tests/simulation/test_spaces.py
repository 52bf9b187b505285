"""Theories of other fields than real numbers, by HMC against exact answers: nothing above their space knows of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.oracles import FreeFieldOracle, XYChainOracle
from trivmap import InputError, Lattice
from trivmap.actions import XY, AbstractAction, FreeScalar, force_error, require_symmetries
from trivmap.bases import FreeField
from trivmap.bijections import Chain
from trivmap.flows import Flow
from trivmap.observables import analyze
from trivmap.samplers import HMC, OMELYAN, ActionPotential, FourierMass
from trivmap.simulation import simulate
from trivmap.spaces import AbstractSpace, Real

RING = Lattice((8,))
KEY = jax.random.key(12)


class FreeVector(AbstractAction):
    """Three free scalars side by side."""

    scalar: FreeScalar = FreeScalar(0.5, 1)

    def __call__(self, field):
        return sum(self.scalar(each) for each in self.space.components(field))

    @property
    def space(self) -> AbstractSpace:
        return Real(3)

    @property
    def symmetries(self):
        return frozenset({"z2", "translations", "point-group"})


def measured(action, *, kinetic=None, start="hot", steps=8000):
    potential = ActionPotential(action, RING, float)
    kernel = HMC(potential, step_size=0.3, trajectory_length=1.5, integrator=OMELYAN, kinetic=kinetic)
    return simulate(kernel, action, KEY, steps=steps, chains=8, start=start, target=0.9)


def near(results, name, exact, index=()):
    value, error = results.chain.value(name)[index], results.chain.error(name)[index]
    assert 0 < error < 0.04
    assert abs(value - exact) < 4 * error, (name, value, error, exact)


@pytest.mark.parametrize("start", ["hot", "mixed"])
def test_xy_ring_against_its_transfer_matrix(start):
    oracle = XYChainOracle(8, 1.3)
    results = analyze(measured(XY(1.3, 1), start=start))
    near(results, "ising_energy", oracle.energy)
    near(results, "action_density", -1.3 * oracle.energy)
    near(results, "susceptibility", oracle.susceptibility)
    near(results, "schwinger_dyson_of_neighbors", 0.0)
    for t in range(1, 5):
        near(results, "correlator", oracle.correlator[t], t)
        near(results, "two_point", oracle.correlator[t], t)
    # s . s = 1, which has no error.
    assert "has not changed" in results.chain.untrusted["two_point[0]"]
    exact = oracle.effective_mass(2)
    near(results, "effective_mass", exact, 2)
    near(results, "correlation_length_arccosh", 1 / exact)


def test_a_vector_of_free_fields_against_its_spectrum():
    exact = 3 * FreeFieldOracle((8,), *FreeVector.scalar.coefficients[:2]).propagator
    results = analyze(measured(FreeVector(), kinetic=FourierMass(RING, m_sq=0.5, dtype=float)))
    near(results, "schwinger_dyson", 1.0)
    near(results, "phi2", exact[0])
    for t in range(5):
        near(results, "two_point", exact[t], t)


def test_its_action_passes_the_self_checks():
    assert force_error(FreeVector(), KEY, RING) < 1e-7
    require_symmetries(FreeVector(), RING)


def test_the_identity_finds_a_wrong_ensemble():
    history = measured(XY(1.3, 1), steps=4000)
    wrong = measured(XY(1.2, 1), steps=4000)
    key = "schwinger_dyson_of_neighbors"

    def identity(history):
        return analyze(history).chain

    assert abs(identity(history).value(key)) < 4 * identity(history).error(key)
    # The same fields, measured with another action.
    scale = 1.3 / 1.2
    energy, broken = wrong["ising_energy"], wrong[key]
    product = broken + 2 * energy
    moved = np.mean(product * scale - 2 * energy)
    assert abs(moved) > 10 * identity(wrong).error(key)


def test_a_flow_of_real_numbers_is_refused_for_angles():
    flow = Flow(FreeField(RING, mass=1.0, dtype=jnp.float64), Chain(RING, []))
    with pytest.raises(InputError, match=r"flow: its fields are Real\(n=1\), and those of XY are Angle\(\)"):
        flow.require_match(XY(1.0, 1))
