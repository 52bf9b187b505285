"""Training works: trained flows give the exact numbers of theories that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.oracles import ChainOracle
from trivmap import Flow, InputError, Lattice
from trivmap.actions import FreeScalar, Phi4
from trivmap.bases import FreeField
from trivmap.bijections import Affine, Chain, ConvolutionalNetwork, coupling_stack
from trivmap.diagnostics import log_z
from trivmap.samplers import IndependenceMetropolis
from trivmap.simulation import ProposalChains
from trivmap.training import evaluate, fit


def test_a_free_field_is_found_from_a_wrong_mass():
    lattice, action = Lattice((4, 4)), FreeScalar(0.25, 2)
    flow = Flow(FreeField(lattice, mass=1.0, dtype=jnp.float32), Chain(lattice, []))
    before = evaluate(flow, action, jax.random.key(1))
    assert before.acceptance.value < 0.6
    trained, evaluation = fit(flow, action, jax.random.key(2), steps=400, batch=64, learning_rate=0.03)
    assert evaluation.acceptance.value - evaluation.acceptance.error > 0.999
    assert evaluation.log_z.error < 1e-4
    assert evaluation.log_z.value == pytest.approx(action.log_z(lattice), abs=1e-4)
    # Every mode has its own variance: e^{2a}/(khat^2 + 1) = 1/(khat^2 + 1/4).
    momenta = lattice.orbit_momenta
    np.testing.assert_allclose(trained.base.log_factor, 0.5 * np.log((momenta + 1) / (momenta + 0.25)), atol=1e-3)


def test_an_interacting_ring_agrees_with_the_transfer_matrix():
    """d = 1, L = 8, beta = 0.9, lam = 0.5, trained for seconds: log Z, <phi^2>, the correlator."""
    lattice, action = Lattice((8,)), Phi4.from_couplings("bosetti2015", 1, beta=0.9, lam=0.5)
    exact = ChainOracle(8, *action.coefficients)
    maps = coupling_stack(
        lattice, Affine(), 2, ConvolutionalNetwork((6,)), dtype=jnp.float32, key=jax.random.key(3)
    ).maps
    flow = Flow(FreeField.hartree(lattice, action, dtype=jnp.float32), Chain(lattice, maps))
    before = evaluate(flow, action, jax.random.key(1))
    flow, after = fit(flow, action, jax.random.key(4), steps=200, batch=128, learning_rate=0.01)
    assert after.acceptance.value > before.acceptance.value + 0.1
    assert after.loss.value > -exact.log_z  # KL(q || p) is positive

    def measure(field):
        return {"correlator": jnp.stack([jnp.mean(field * jnp.roll(field, t)) for t in range(5)])}

    kernel = IndependenceMetropolis(flow, action)
    driver = ProposalChains(kernel, jax.random.key(5), chains=32, measure=measure, batch=1500)
    part, _ = driver.part(driver.start(), 0, 1500)
    estimate = log_z(part.log_weight)
    assert estimate.error < 0.01
    assert abs(estimate.value - exact.log_z) < 3 * estimate.error
    means = []
    for chain, accepted in enumerate(part.accepted):
        latest = np.maximum.accumulate(np.where(accepted, np.arange(1500), 0))[50:]
        means.append(part.observables["correlator"][chain][latest].mean(axis=0))
    value, error = np.mean(means, axis=0), np.std(means, axis=0, ddof=1) / np.sqrt(len(means))
    assert np.all(np.abs(value - exact.two_point[:5]) < 3 * error)
    assert np.all(error < 0.01)
    assert value[0] == pytest.approx(exact.phi2, abs=3 * error[0])


class TestEvaluate:
    LATTICE = Lattice((4,))
    ACTION = FreeScalar(0.5, 1)
    FLOW = Flow(FreeField(LATTICE, mass=0.6, dtype=jnp.float64), Chain(LATTICE, []))

    def test_at_least_as_many_proposals_as_asked_for(self):
        assert evaluate(self.FLOW, self.ACTION, jax.random.key(0), proposals=4097, batch=1000).proposals == 5000

    def test_few_proposals_are_refused(self):
        with pytest.raises(InputError, match=r"^evaluate.proposals: at least 4096 are needed, got 256$"):
            evaluate(self.FLOW, self.ACTION, jax.random.key(0), proposals=256)

    def test_loss_and_log_z_in_closed_form(self):
        """KL of two free fields: sum_k (r - 1 - log r)/2 with r = (khat^2 + 0.5)/(khat^2 + 0.6)."""
        found = evaluate(self.FLOW, self.ACTION, jax.random.key(0), proposals=4096)
        ratio = (self.LATTICE.momentum_squared + 0.5) / (self.LATTICE.momentum_squared + 0.6)
        divergence = 0.5 * np.sum(ratio - 1 - np.log(ratio))
        assert abs(found.loss.value + self.ACTION.log_z(self.LATTICE) - divergence) < 3.5 * found.loss.error < 0.02
        assert abs(found.log_z.value - self.ACTION.log_z(self.LATTICE)) < 3.5 * found.log_z.error < 0.02
        # E_q[w]^2 / E_q[w^2] mode by mode: w = exp(-x^2 (a - b)/2) for precisions a of p and b of q.
        ess = np.prod(np.sqrt(1 + 2 * (ratio - 1)) / ratio)
        assert abs(found.ess.value - ess) < 3.5 * found.ess.error < 0.02


def test_a_training_that_diverges_raises():
    lattice = Lattice((4,))
    flow = Flow(FreeField(lattice, mass=1.0, dtype=jnp.float32), Chain(lattice, []))
    with pytest.raises(FloatingPointError, match=r"training (diverged|became NaN or infinite) at step"):
        fit(flow, FreeScalar(0.25, 1), jax.random.key(2), steps=20, batch=8, learning_rate=1e4)
