"""A flow with a continuous map in it: shifted time grids, the ridge of Gauss-Newton, the number of steps."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.maps import filled
from trivmap import Flow, Lattice
from trivmap.actions import Phi4
from trivmap.bases import FreeField
from trivmap.bijections import Chain, Continuous, Features, FourierDiagonal, KernelBasis, Rescale, Smeared


def continuous(steps=16):
    """A continuous map between maps that are exact, on a learnable free field."""
    lattice = Lattice((3, 2))
    features = Features("tanh", (0.8,), (), (Smeared(0.9, (0.7,)),))
    moving = Continuous(
        lattice, features=features, kernel=KernelBasis(1, ()), steps=steps, smoothness=0.2, dtype="float64"
    )
    maps = [FourierDiagonal(lattice, dtype="float64"), moving, Rescale(lattice, dtype="float64")]
    return Flow(FreeField(lattice, mass=0.8, dtype="float64"), Chain(lattice, maps))


def test_residual_on_a_shifted_time_grid_is_that_of_the_perturbed_flow():
    """log q + S at fixed noise; the shift moves it by the error of the integration, and is no parameter."""
    flow, action, z = (
        filled(continuous, 0.2),
        Phi4(-0.4, 0.2, 0.5, 2),
        jnp.asarray(np.random.default_rng(1).normal(size=(3, 2))),
    )
    parameters, static = eqx.partition(flow, eqx.is_inexact_array)

    @eqx.filter_jit
    def evaluate_at(parameters, u):
        def of(parameters):
            return eqx.combine(parameters, static).residual(action, z, u)

        field, log_density = flow.perturbed(u).push(z)
        return *jax.value_and_grad(of)(parameters), log_density + action(field), flow.residual(action, z)

    residual, gradient, expected, plain = evaluate_at(parameters, jnp.asarray(0.4))
    assert float(residual) == pytest.approx(float(expected), abs=1e-12)
    assert 1e-9 < abs(float(residual) - float(plain)) < 1e-5
    assert jax.tree.structure(gradient) == jax.tree.structure(parameters)
    assert min(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(gradient)) > 1e-3
    assert flow.perturbed(jnp.asarray(0.4)).base is flow.base


def test_ridge_weighs_what_varies_fast_in_time_and_nothing_else():
    flow = filled(continuous, 0.2)
    ridge = flow.l2_weights()
    parameters = eqx.filter(flow, eqx.is_inexact_array)
    assert jax.tree.structure(eqx.filter(ridge, eqx.is_inexact_array)) == jax.tree.structure(parameters)
    coefficients = ridge.bijection.maps[1].coefficients
    np.testing.assert_allclose(coefficients[:, 0, 0], [0.0, 0.2, 0.2 * 16], rtol=1e-15)
    rest = eqx.tree_at(lambda flow: flow.bijection.maps[1].coefficients, ridge, 0 * coefficients)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(eqx.filter(rest, eqx.is_inexact_array)))


def test_steps_of_a_flow_are_those_of_its_continuous_maps():
    flow = filled(lambda: continuous(16), 0.2)
    assert flow.integration_steps == 16
    assert Flow(flow.base, flow.bijection.maps[0]).integration_steps is None
    assert eqx.tree_equal(flow.with_integration_steps(5), filled(lambda: continuous(5), 0.2))
