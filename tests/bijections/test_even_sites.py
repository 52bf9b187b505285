"""The continuous flow of the even sites: everything against the Jacobian between them, in float64."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.maps import filled
from tests.symmetries import point_group, transformed
from trivmap import Flow, InputError, Lattice
from trivmap.actions import Decimated, Phi4
from trivmap.bases import DecimatedFreeField, FreeField
from trivmap.bijections import AbstractBijection, Chain, Continuous, Features, KernelBasis, Rescale, Smeared
from trivmap.objectives import Draws, PathGradient, ReverseKL
from trivmap.observables import along_the_map, measure
from trivmap.samplers import FlowPath, FlowPotential, IndependenceMetropolis
from trivmap.support import Support

FEATURES = Features("tanh", (1.5,), (0.9,), (Smeared(0.8, (0.7,)),))
KEY = jax.random.key(7)


def flow(shape, steps=300):
    lattice = Lattice(shape)
    options = {"features": FEATURES, "kernel": KernelBasis(2, [0.6]), "times": 2, "steps": steps, "even": True}
    return filled(lambda: Continuous(lattice, dtype=jnp.float64, **options), scale=0.15)


def noise(lattice, seed=0):
    """Something at every site: what is held at odd ones must not matter."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=lattice.shape))


@pytest.mark.parametrize("shape", [(6,), (4, 4), (4, 2), (2, 4, 2)])
def test_jacobian_inverse_and_score(shape):
    part, x = flow(shape), noise(Lattice(shape))
    even = part.lattice.parity == 0
    masked = jnp.where(even, x, 0)
    y, log_det = part.forward(masked)
    assert np.all(np.asarray(y)[~even] == 0)
    jacobian = np.asarray(jax.jit(jax.jacobian(lambda x: part.forward(x)[0]))(masked))
    jacobian = jacobian.reshape(even.size, even.size)[np.ix_(even.ravel(), even.ravel())]
    sign, exact = np.linalg.slogdet(jacobian)
    assert sign == 1
    assert abs(exact) > 0.05
    assert float(log_det) == pytest.approx(exact, abs=1e-8)
    back, inverse_log_det = part.inverse(y)
    np.testing.assert_allclose(back, masked, atol=1e-9)
    assert float(inverse_log_det) == pytest.approx(-float(log_det), abs=1e-9)
    found = part.forward_with_score(masked, -masked)
    expected = AbstractBijection.forward_with_score(part, masked, -masked)
    np.testing.assert_allclose(np.asarray(found[2]), np.where(even, expected[2], 0), atol=1e-7)


@pytest.mark.parametrize("shape", [(4, 4), (6, 4)])
def test_equivariance(shape):
    part = flow(shape, steps=6)
    even = part.lattice.parity == 0
    x = np.where(even, noise(part.lattice), 0)
    forward = jax.jit(lambda x: part.forward(x))
    y, log_det = forward(x)
    assert np.max(np.abs(y - x)) > 0.1

    def agrees(moved, expected):
        found, other = forward(moved)
        np.testing.assert_allclose(found, expected, atol=1e-12)
        assert float(other) == pytest.approx(float(log_det), abs=1e-11)

    agrees(-x, -np.asarray(y))
    for shift in itertools.product(*(range(extent) for extent in shape)):
        if sum(shift) % 2 == 0:
            agrees(np.roll(x, shift, (0, 1)), np.roll(y, shift, (0, 1)))
    for element in point_group(shape):
        agrees(transformed(element, x), transformed(element, np.asarray(y)))


def test_only_maps_of_the_even_sites_go_with_each_other():
    lattice = Lattice((4, 4))
    part, whole = flow((4, 4), steps=4), FreeField(lattice, mass=0.7, dtype="float64")
    assert Flow(DecimatedFreeField(whole), Chain(lattice, [part])).support is Support.EVEN
    assert Flow(DecimatedFreeField(whole), Chain(lattice, [])).support is Support.EVEN
    with pytest.raises(InputError, match="give both the same sites"):
        Flow(whole, part)
    with pytest.raises(InputError, match="give both the same sites"):
        Flow(DecimatedFreeField(whole), Rescale(lattice, dtype="float64"))
    with pytest.raises(InputError, match="they must agree"):
        Chain(lattice, [part, Rescale(lattice, dtype="float64")])
    with pytest.raises(InputError, match="even"):
        flow((4, 5))
    smaller = part.resize(Lattice((6, 6)))
    assert smaller.supports == {Support.EVEN}
    assert smaller.with_integration_steps(8).supports == {Support.EVEN}


def test_a_flow_and_an_action_of_other_sites_are_refused():
    lattice, action = Lattice((4, 4)), Phi4(-0.6, 0.0, 0.5, 2)
    whole, plain = FreeField(lattice, mass=0.7, dtype="float64"), Chain(lattice, [])
    even, decimated = Flow(DecimatedFreeField(whole), plain), Decimated(action, lattice)
    for make in (IndependenceMetropolis, FlowPotential, FlowPath):
        make(even, decimated)
        make(Flow(whole, plain), action)
        with pytest.raises(InputError, match=r"one of the even sites, Phi4 is not such"):
            make(even, action)
        with pytest.raises(InputError, match=r"one of all sites, Decimated is not such"):
            make(Flow(whole, plain), decimated)
    with pytest.raises(InputError, match="give its action"):
        along_the_map(even, KEY, proposals=64)
    field = noise(lattice)
    assert measure(decimated, field)["action_density"] == action(field) / 16


def even_flow(shape=(4, 4)):
    lattice = Lattice(shape)
    return Flow(
        DecimatedFreeField(FreeField(lattice, mass=0.7, dtype="float64")), Chain(lattice, [flow(shape, steps=4)])
    )


def test_what_is_not_drawn_is_no_number():
    """Whatever the flow gives away is NaN at the odd sites, and nothing can be measured on it."""
    part, action = even_flow(), Phi4(-0.6, 0.0, 0.5, 2)
    target, odd = Decimated(action, part.lattice), part.lattice.parity == 1
    z = part.noise(KEY)
    field, log_density = part.sample(KEY)
    for given in (field, part.push(z)[0], part.push_with_score(z)[0], *(stage.field for stage in part.stages(z))):
        np.testing.assert_array_equal(np.isnan(given), odd)
    assert np.all(np.asarray(part.push_with_score(z)[2])[odd] == 0)
    for of in (action, target):
        with pytest.raises(InputError, match="the field has only its even sites; draw the odd ones by sample"):
            measure(of, field)
    # Within a program there is nobody to tell: the numbers are none.
    assert all(np.all(np.isnan(values)) for values in jax.jit(lambda field: measure(target, field))(field).values())
    whole, same = part.sample(KEY, target)
    assert np.all(np.isfinite(whole)) and same == log_density
    np.testing.assert_array_equal(np.asarray(whole)[~odd], np.asarray(field)[~odd])
    assert target(whole) == target(field)
    assert float(part.log_density(whole)) == float(part.log_density(field))
    measure(target, whole)
    with pytest.raises(InputError, match="one of the even sites"):
        part.sample(KEY, action)


def test_gradients_do_not_see_what_is_not_drawn():
    part = even_flow()
    target = Decimated(Phi4(-0.6, 0.0, 0.5, 2), part.lattice)
    noise = jnp.stack([part.noise(key) for key in jax.random.split(KEY, 3)])
    for objective in (ReverseKL(), PathGradient()):
        gradient = eqx.filter_jit(
            eqx.filter_grad(lambda f, o=objective: o(f, target, Draws(noise=noise), jnp.ones(()))[0])
        )(part)
        leaves = jax.tree.leaves(gradient)
        assert all(np.all(np.isfinite(leaf)) for leaf in leaves)
        assert max(float(jnp.max(jnp.abs(leaf))) for leaf in leaves) > 1e-3
    evaluation = jax.jit(lambda z: FlowPotential(part, target).evaluate(z))(noise[0])
    assert np.all(np.isfinite(evaluation.force)) and np.isfinite(evaluation.energy)
    tangent = jax.jvp(lambda z: part.residual(target, z), (noise[0],), (noise[1],))[1]
    assert np.isfinite(tangent)
