"""Theories of other fields than real numbers, by HMC against exact answers: nothing above their space knows of them."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.oracles import FreeFieldOracle, XYChainOracle
from trivmap import InputError, Lattice
from trivmap.actions import XY, AbstractAction, Decimated, FreeScalar, Phi4, force_error, require_symmetries
from trivmap.bases import FreeField
from trivmap.bijections import Chain
from trivmap.flows import Flow
from trivmap.observables import CATALOG, ArrayHistory, Mean, analyze
from trivmap.observables.own import require_measurable
from trivmap.observables.spin_field import of_space
from trivmap.samplers import HMC, OMELYAN, ActionPotential, ClusterCycle, FourierMass, HoppingExpansionPath
from trivmap.simulation import simulate
from trivmap.spaces import AbstractSpace, Angle, Real

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
    kernel = HMC(ActionPotential(XY(1.2, 1), RING, float), step_size=0.3, trajectory_length=1.5, integrator=OMELYAN)
    results = analyze(simulate(kernel, XY(1.3, 1), KEY, steps=4000, chains=8, target=0.9))
    assert "schwinger_dyson_of_neighbors is 0 in every correct ensemble" in results.info["broken_identity"]
    assert len(results.chain) == 0


@dataclass(frozen=True)
class Pairs(Real):
    """Two numbers at every site that the class does not call linear."""

    n: int = 2

    @property
    def linear(self) -> bool:
        return False


def test_only_unit_vectors_have_the_identity_of_neighbors():
    assert [each.name for each in of_space(Angle()) if each.exact is not None] == ["schwinger_dyson_of_neighbors"]
    assert not [each for each in of_space(Pairs()) if each.exact is not None]
    assert not Real(2).unit_vectors


def test_a_kernel_of_real_numbers_is_refused_for_angles():
    phi4 = Phi4.from_couplings("bosetti2015", 1, beta=0.5, lam=0.5)
    kernel = HMC(ActionPotential(phi4, RING, float), step_size=0.3)
    with pytest.raises(InputError, match="the fields of HMC are one real number per site, those of S are angles"):
        simulate(kernel, XY(1.0, 1), KEY, steps=100)


class NearestNeighborVector(FreeVector):
    """A vector theory that has the coefficients of a scalar one."""

    @property
    def coefficients(self):
        return self.scalar.coefficients


@pytest.mark.parametrize(
    "make",
    [
        lambda action: ClusterCycle(action, RING),
        lambda action: HoppingExpansionPath(RING, action, dtype=float),
        lambda action: FreeField.hartree(RING, action, dtype=float),
        lambda action: Decimated(action, RING),
    ],
)
def test_what_serves_one_real_number_per_site_refuses_vectors(make):
    with pytest.raises(InputError, match=r"coefficients|cluster updates"):
        make(NearestNeighborVector())


def test_the_signed_components_show_a_chain_in_one_sector():
    """Vectors have no scalar magnetization; their components must be zero, and agree among the chains."""
    history = measured(FreeVector(), steps=1500)
    results = analyze(history)
    assert results.chain.value("magnetization_vector").shape == (3,)
    pulls = results.chain.value("magnetization_vector") / results.chain.error("magnetization_vector")
    assert np.all(np.abs(pulls) < 4)
    arrays = {name: history[name].copy() for name in history.names}
    arrays["magnetization_vector"][:4] += 1.0
    apart = ArrayHistory(arrays, lattice=(8,), symmetries=("z2",))
    reason = analyze(apart).untrusted["phi2"]
    assert "the chains disagree about magnetization_vector" in reason


def test_names_of_other_theories_are_not_free():
    mine = Mean(name="mx", measurement="magnetization", measure=lambda field, action: jnp.mean(jnp.cos(field)))
    with pytest.raises(InputError, match="magnetization is the name of two measurements"):
        require_measurable([mine], XY(0.5, 1), RING, float)
    stored = {"abs_magnetization": np.full((2, 5), 0.3), "magnetization": np.full((2, 5), -0.1)}
    assert CATALOG.primaries(stored)["abs_magnetization"][0, 0] == 0.3


def test_a_flow_of_real_numbers_is_refused_for_angles():
    flow = Flow(FreeField(RING, mass=1.0, dtype=jnp.float64), Chain(RING, []))
    with pytest.raises(InputError, match="flow: its fields are one real number per site, and those of XY are angles"):
        flow.require_match(XY(1.0, 1))
