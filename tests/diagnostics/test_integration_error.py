"""The certificate of a continuous flow's integration: it passes a fine solver and catches a coarse one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import Flow, Lattice
from trivmap.actions import Phi4
from trivmap.bases import FreeField
from trivmap.bijections import Chain, Continuous, Features, KernelBasis, Rescale
from trivmap.diagnostics import certificate
from trivmap.diagnostics.integration_error import CANDIDATES, LIMIT, Levels
from trivmap.diagnostics.rounding import RoundingMeasurement
from trivmap.flows import SteppedFlow
from trivmap.samplers import IndependenceMetropolis, proposal_key
from trivmap.simulation import ProposalChains
from trivmap.streams import proposal_keys

LATTICE = Lattice((4, 4))
ACTION = Phi4.from_couplings("bosetti2015", 2, beta=0.5, lam=0.5)


def flow(scale: float) -> Flow:
    features = Features("tanh", (1.0, 3.0), (), ())
    kernels = KernelBasis(1, [1.0])
    move = Continuous(LATTICE, features=features, kernel=kernels, steps=4, scheme="rk3", dtype="float64")
    values = scale * np.random.default_rng(5).normal(size=move.coefficients.shape)
    move = eqx.tree_at(lambda m: m.coefficients, move, jnp.asarray(values))
    return Flow(FreeField.hartree(LATTICE, ACTION, dtype="float64"), Chain(LATTICE, [move]))


def log_weights(flow: Flow, steps: int, noise: jax.Array) -> np.ndarray:
    fine = flow.with_integration_steps(steps)
    return np.asarray(jax.jit(jax.vmap(lambda z: -fine.residual(ACTION, z)))(noise))


@pytest.fixture(scope="module")
def strong() -> Flow:
    return flow(0.5)


def test_a_coarse_solver_is_caught(strong):
    found = certificate(strong, ACTION, jax.random.key(0), steps=1, configurations=64)
    assert found.steps == 1 and not found.passed
    assert max(abs(found.mean), found.spread) > 3 * LIMIT


def test_the_chosen_steps_are_the_fewest_that_pass_and_the_error_is_what_it_says(strong):
    key = jax.random.key(1)
    found = certificate(strong, ACTION, key, configurations=64)
    assert found.passed and found.steps in CANDIDATES and found.steps > CANDIDATES[0]
    fewer = CANDIDATES[CANDIDATES.index(found.steps) - 1]
    assert not certificate(strong, ACTION, key, steps=fewer, configurations=64).passed
    # Against a far finer solution of the same configurations: what twice the steps miss is a small part.
    noise = jax.vmap(lambda i: strong.noise(proposal_keys(proposal_key(key, 0, i)).noise))(jnp.arange(64))
    error = log_weights(strong, found.steps, noise) - log_weights(strong, 512, noise)
    assert abs(error.mean() - found.mean) < 0.3 * abs(found.mean)
    assert abs(error.std() - found.spread) < 0.3 * found.spread
    assert max(abs(error.mean()), error.std()) < 1.3 * LIMIT


def test_a_flow_without_integration_needs_none():
    exact = Flow(
        FreeField.hartree(LATTICE, ACTION, dtype="float64"), Chain(LATTICE, [Rescale(LATTICE, dtype="float64")])
    )
    assert certificate(exact, ACTION, jax.random.key(0)) is None


def test_none_passes_and_says_so():
    found = certificate(flow(40.0), ACTION, jax.random.key(0), configurations=16)
    assert found.steps == CANDIDATES[-1] and not found.passed


class TestOneProgram:
    """The program of the proposals serves every number of steps, and the comparison of them."""

    def driver(self, strong):
        kernel = IndependenceMetropolis(SteppedFlow(strong, 1), ACTION)
        return ProposalChains(
            kernel, jax.random.key(7), chains=1, measure=lambda field: {"phi2": jnp.mean(field**2)}, batch=48
        )

    def test_a_stepped_flow_is_the_flow(self, strong):
        noise = jax.vmap(strong.noise)(jax.random.split(jax.random.key(2), 8))
        program = jax.jit(lambda stepped, z: jax.vmap(stepped.resolved().push)(z))
        for steps in (4, 7):
            wanted = jax.vmap(strong.with_integration_steps(steps).push)(noise)
            for found, exact in zip(program(SteppedFlow(strong, steps), noise), wanted, strict=True):
                np.testing.assert_allclose(found, exact, rtol=1e-11, atol=1e-11)
        assert program._cache_size() == 1

    def test_adopted_steps_are_those_of_the_proposals(self, strong):
        driver, kernel = self.driver(strong), IndependenceMetropolis(strong.with_integration_steps(6), ACTION)
        driver.begin()
        driver.adopt(IndependenceMetropolis(SteppedFlow(strong, 6), ACTION))
        part, _ = driver.part(driver.start(), 0, 48)
        made = jax.vmap(lambda i: kernel.propose(proposal_key(jax.random.key(7), 0, i)))(jnp.arange(48))
        np.testing.assert_allclose(part.log_weight[0], made.log_weight, rtol=1e-11)

    def test_levels_by_the_proposals(self, strong):
        driver, key = self.driver(strong), jax.random.key(3)

        def batch(steps, first):
            made, measured = driver.batch(IndependenceMetropolis(SteppedFlow(strong, steps), ACTION), key, first)
            return made.log_weight, measured

        levels = Levels(strong, ACTION, key, batch=batch, size=driver.stride)
        level = levels.at(5, 70)
        assert level.log_weight.shape == level.observables["phi2"].shape == (70,)
        noise_keys = jax.vmap(lambda i: proposal_keys(proposal_key(key, 0, i)).noise)(jnp.arange(70))
        noise = jax.vmap(strong.noise)(noise_keys)
        np.testing.assert_allclose(level.log_weight, log_weights(strong, 5, noise), rtol=1e-10)
        # The same configurations as without the proposals' program.
        own = Levels(strong, ACTION, key, lambda field: {"phi2": jnp.mean(field**2)}).at(5, 70)
        np.testing.assert_allclose(level.log_weight, own.log_weight, rtol=1e-10)
        np.testing.assert_allclose(level.observables["phi2"], own.observables["phi2"], rtol=1e-10)
        found = certificate(strong, ACTION, key, configurations=70, levels=levels)
        assert found == pytest.approx(certificate(strong, ACTION, key, configurations=70), rel=1e-6, abs=1e-12)

    def test_rounding_of_known_log_weights(self, strong):
        single = strong.astype(jnp.float32)
        keys = jax.random.split(jax.random.key(4), 32)
        noise = jax.vmap(single.noise)(keys)
        known = jax.jit(jax.vmap(lambda z: -single.residual(ACTION, z)))(noise)
        given, own = RoundingMeasurement(ACTION, keys), RoundingMeasurement(ACTION, keys)
        given.begin(SteppedFlow(single, 4), known=True)
        found, other = given.measure(SteppedFlow(single, 4), known), own.measure(single)
        assert 0 < found.spread < 1e-3
        np.testing.assert_allclose(found, other, rtol=0.3, atol=1e-7)
        exact = given.measure(SteppedFlow(single, 4), np.asarray(known, np.float64) + 1.0)
        assert exact.mean == pytest.approx(found.mean + 1)

    def test_steps_of_several_maps_are_one_number(self, strong):
        two = Flow(strong.base, Chain(LATTICE, [*strong.bijection.maps, *strong.bijection.maps]))
        assert two.integration_steps == 4 and two.with_integration_steps(9).integration_steps == 9
        assert two.micro_batch == strong.micro_batch
        assert jax.jit(lambda stepped: stepped.resolved().micro_batch)(SteppedFlow(two, 5)) == strong.micro_batch
