"""Reversible, symplectic, of second order: on a ring of four anharmonic sites."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import Lattice
from trivmap.actions import Phi4
from trivmap.samplers import INTEGRATORS, LEAPFROG, OMELYAN, ActionPotential
from trivmap.samplers.integrators import Point

POTENTIAL = ActionPotential(Phi4(-0.6, 0.4, 0.5, dimension=1), Lattice((4,)), jnp.float64)
START = jnp.asarray([0.3, -1.1, 0.8, 0.2]), jnp.asarray([1.0, 0.4, -0.7, 0.1])


def flow(integrator, position, momentum, step_size, steps):
    point = Point(position, momentum, POTENTIAL.evaluate(position))
    end = integrator.integrate(POTENTIAL.evaluate, lambda p: p, point, jnp.asarray(step_size), steps)
    return end.position, end.momentum


def energy(position, momentum):
    return POTENTIAL.action(position) + 0.5 * jnp.sum(momentum**2)


def reference(position, momentum, step_size, steps, splitting):
    """The same splitting written out step by step."""
    force = POTENTIAL.action.force
    for _ in range(steps):
        for kind, length in splitting:
            if kind == "kick":
                momentum = momentum + length * step_size * force(position)
            else:
                position = position + length * step_size * momentum
    return position, momentum


X = 0.1931833275037836
SPLITTINGS = {
    "leapfrog": [("kick", 0.5), ("drift", 1.0), ("kick", 0.5)],
    "omelyan": [("kick", X), ("drift", 0.5), ("kick", 1 - 2 * X), ("drift", 0.5), ("kick", X)],
}


@pytest.mark.parametrize("name", INTEGRATORS)
@pytest.mark.parametrize("steps", [1, 3])
def test_is_the_splitting_written_out(name, steps):
    ours = jax.jit(lambda n: flow(INTEGRATORS[name], *START, 0.2, n))(steps)
    theirs = reference(*START, 0.2, steps, SPLITTINGS[name])
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


@pytest.mark.parametrize("integrator", INTEGRATORS.values(), ids=INTEGRATORS)
def test_reversible(integrator):
    position, momentum = flow(integrator, *START, 0.1, 20)
    assert np.max(np.abs(position - START[0])) > 0.1
    back, reversed_momentum = flow(integrator, position, -momentum, 0.1, 20)
    np.testing.assert_allclose(back, START[0], atol=1e-13)
    np.testing.assert_allclose(reversed_momentum, -START[1], atol=1e-13)


@pytest.mark.parametrize("integrator", INTEGRATORS.values(), ids=INTEGRATORS)
def test_symplectic(integrator):
    def stacked(state):
        return jnp.concatenate(flow(integrator, state[:4], state[4:], 0.15, 3))

    jacobian = jax.jacfwd(stacked)(jnp.concatenate(START))
    form = np.kron(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.eye(4))
    np.testing.assert_allclose(jacobian.T @ form @ jacobian, form, atol=1e-13)


def error_of_energy(integrator, steps):
    position, momentum = flow(integrator, *START, 1.0 / steps, steps)
    return float(energy(position, momentum) - energy(*START))


@pytest.mark.parametrize("integrator", INTEGRATORS.values(), ids=INTEGRATORS)
def test_energy_error_is_of_second_order(integrator):
    coarse, fine = error_of_energy(integrator, 16), error_of_energy(integrator, 32)
    assert abs(fine) > 1e-7
    assert coarse / fine == pytest.approx(4, rel=0.05)


def test_minimum_norm_is_better_at_equal_cost():
    assert abs(error_of_energy(OMELYAN, 16)) < 0.5 * abs(error_of_energy(LEAPFROG, 32))
