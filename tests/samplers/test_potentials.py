import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.maps import filled
from trivmap import Flow, Lattice
from trivmap.actions import FreeScalar, Phi4
from trivmap.bases import FreeField
from trivmap.bijections import Affine, Chain, DenseNetwork, coupling_stack
from trivmap.errors import InputError
from trivmap.samplers import ActionPotential, FlowPotential, start_positions

LATTICE = Lattice((2, 4))
KEY = jax.random.key(5)
ACTION = Phi4.from_couplings("bosetti2015", 2, beta=0.6, lam=0.5)


def flow():
    maps = coupling_stack(LATTICE, Affine(), 2, DenseNetwork((2,)), dtype=jnp.float64, key=jax.random.key(0)).maps
    return Flow(FreeField(LATTICE, mass=0.8, dtype=jnp.float64), Chain(LATTICE, maps))


FLOW = filled(flow)


def complete(potential, z):
    evaluation = potential.evaluate(z)
    return evaluation.force, *potential.finish(z, evaluation)


def test_of_an_action():
    z = jax.random.normal(jax.random.key(1), LATTICE.shape, jnp.float32)
    force, energy, field = complete(ActionPotential(ACTION, LATTICE, jnp.float32), z)
    assert force.dtype == jnp.float32 and energy.dtype == jnp.float64
    np.testing.assert_array_equal(field, z)
    assert energy == ACTION(z)
    np.testing.assert_array_equal(force, ACTION.force(z))


def test_pulled_back_is_the_density_of_the_noise():
    """exp(-U(z)) = exp(-S(T(z))) |det dT/dz|: the determinant by autodiff."""
    potential = FlowPotential(FLOW, ACTION)
    noise = jax.random.normal(jax.random.key(2), (4, *LATTICE.shape), jnp.float64)

    def direct(z):
        jacobian = jax.jacobian(lambda z: FLOW.push(z)[0])(z).reshape(LATTICE.volume, LATTICE.volume)
        return ACTION(FLOW.push(z)[0]) - jnp.linalg.slogdet(jacobian)[1]

    @jax.jit
    @jax.vmap
    def both(z):
        return complete(potential, z), FLOW.push(z)[0], *jax.value_and_grad(direct)(z)

    (force, energy, field), pushed, expected, gradient = both(noise)
    np.testing.assert_allclose(energy, expected, atol=1e-12)
    np.testing.assert_allclose(field, pushed, rtol=1e-12)
    np.testing.assert_allclose(force, -gradient, rtol=1e-9, atol=1e-10)


def test_a_trivializing_map_leaves_unit_normals():
    free = FreeScalar(0.8, 2)
    potential = FlowPotential(Flow(FreeField(LATTICE, mass=0.8, dtype=jnp.float64), Chain(LATTICE, [])), free)
    z = potential.noise(jax.random.key(3))
    np.testing.assert_allclose(potential.evaluate(z).force, -z, atol=1e-12)


@pytest.mark.parametrize(
    ("action", "size"),
    [
        (Phi4.from_couplings("bosetti2015", 2, beta=0.75, lam=0.5), np.sqrt(2 * 0.75 / (2 * 0.5))),
        (FreeScalar(0.5, 2), np.sqrt(2.0)),  # S = m^2 v^2 / 2 = 1/2 per site
    ],
)
def test_uniform_starts(action, size):
    potential = ActionPotential(action, LATTICE, jnp.float64)
    key = jax.random.key(0)
    mixed = np.asarray(start_positions(potential, "mixed", key, 5))
    assert np.ptp(mixed, axis=(1, 2)).max() == 0
    assert np.sign(mixed[:, 0, 0]).tolist() == [1, -1, 1, -1, 1]
    np.testing.assert_allclose(np.abs(mixed[:, 0, 0]), size, atol=0.026)
    assert not np.any(start_positions(potential, "cold", key, 5))
    hot = np.asarray(start_positions(potential, "hot", key, 5))
    assert hot.shape == (5, 2, 4) and len(np.unique(hot)) == hot.size
    with pytest.raises(InputError, match="lukewarm"):
        start_positions(potential, "lukewarm", key, 5)


def test_uniform_starts_through_a_flow_lie_in_both_sectors():
    potential = FlowPotential(FLOW, ACTION)
    means = jax.jit(jax.vmap(lambda z: jnp.mean(FLOW.push(z)[0])))(start_positions(potential, "mixed", KEY, 2))
    assert means[0] > 0.1 and means[1] < -0.1
