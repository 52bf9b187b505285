"""The certificate of a continuous flow's integration: it passes a fine solver and catches a coarse one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import Flow, Lattice
from trivmap.actions import Phi4
from trivmap.bases import FreeField
from trivmap.bijections import Chain, Continuous, Features, Kernels, Rescale
from trivmap.diagnostics import certificate
from trivmap.diagnostics.integration_error import CANDIDATES, LIMIT

LATTICE = Lattice((4, 4))
ACTION = Phi4.from_couplings("bosetti2015", 2, beta=0.5, lam=0.5)


def flow(scale: float) -> Flow:
    features = Features("tanh", [(None, [1.0, 3.0])])
    kernels = Kernels(1, [1.0])
    move = Continuous(LATTICE, features=features, kernels=kernels, steps=4, scheme="rk3", dtype="float64")
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
    noise = jax.vmap(strong.noise)(jax.random.split(key, 64))
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
