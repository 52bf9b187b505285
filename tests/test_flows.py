"""A flow: samples with their exact, normalized density, their score, their stages."""

from functools import cache
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.maps import filled
from tests.oracles import ChainOracle, square_lattice
from trivmap import Flow, InputError, Lattice
from trivmap.actions import AbstractAction, FreeScalar, Phi4
from trivmap.bases import FreeField, Gaussian
from trivmap.bijections import (
    Affine,
    Chain,
    ConvolutionalNetwork,
    Coupling,
    DenseConditioner,
    FourierDiagonal,
    Rescale,
    Spline,
    ZeroMode,
)
from trivmap.samplers import FlowPath, FlowPotential, IndependenceMetropolis
from trivmap.simulation import draw
from trivmap.training import fit

KEY = jax.random.key(0)


def conv(lattice, transformer, active, dtype="float64"):
    options = {"active": active, "z2": True, "dtype": dtype, "key": KEY}
    conditioner = ConvolutionalNetwork((2,)).conditioner(lattice, transformer, **options)
    return Coupling(lattice, active, transformer, conditioner)


def dense(lattice, transformer, active, dtype="float64", z2=False):
    options = {"hidden": (3,), "activation": "tanh", "z2": z2, "dtype": dtype, "key": KEY}
    return Coupling(lattice, active, transformer, DenseConditioner(lattice, transformer, **options))


def whole(dtype="float64"):
    """A map of every kind, on a learnable free field."""
    lattice = Lattice((2, 4))
    maps = [
        FourierDiagonal(lattice, dtype=dtype),
        dense(lattice, Affine(), 0, dtype),
        ZeroMode(lattice, bins=4, dtype=dtype),
        Rescale(lattice, dtype=dtype),
    ]
    return Flow(FreeField(lattice, mass=0.8, dtype=dtype), Chain(lattice, maps))


def local(shape, dtype="float64"):
    """What can be carried to other lattices."""
    lattice = Lattice(shape)
    maps = [conv(lattice, Affine(), 0, dtype), conv(lattice, Affine(), 1, dtype), Rescale(lattice, dtype=dtype)]
    return Flow(FreeField(lattice, mass=0.8, dtype=dtype), Chain(lattice, maps))


def noise(shape, count=None, dtype=np.float64):
    size = shape if count is None else (count, *shape)
    return jnp.asarray(np.random.default_rng(1).normal(size=size).astype(dtype))


@eqx.filter_jit
def evaluate(flow, z):
    field, log_density, score = flow.push_with_score(z)
    return SimpleNamespace(
        z=z,
        field=field,
        log_density=log_density,
        score=score,
        pushed=flow.push(z),
        again=flow.log_density(field),
        gradient=jax.grad(flow.log_density)(field),
        jacobian=jax.jacrev(lambda z: flow.push(z)[0])(z).reshape(z.size, z.size),
        stages=[tuple(stage[1:]) for stage in flow.stages(z)],
        batch=jax.vmap(flow.push)(jnp.stack([-z, z, 2 * z])),
        batch_of_one=jax.vmap(flow.push)(z[None]),
    ).__dict__


@cache
def found():
    return SimpleNamespace(**jax.device_get(evaluate(filled(whole), noise((2, 4)))))


def test_density_is_that_of_the_noise_divided_by_the_jacobian():
    """log q(phi) = log N(z) - log |det dphi/dz|, with the Jacobian of the whole flow from noise to field."""
    it = found()
    normal = -0.5 * np.sum(it.z**2) - 0.5 * it.z.size * np.log(2 * np.pi)
    expected = normal - np.linalg.slogdet(it.jacobian)[1]
    assert float(it.log_density) == pytest.approx(expected, abs=1e-10)


def test_density_of_a_sample_is_the_one_it_came_with():
    it = found()
    assert float(it.again) == pytest.approx(float(it.log_density), abs=1e-10)
    assert float(it.pushed[1]) == pytest.approx(float(it.log_density), abs=1e-12)
    np.testing.assert_allclose(it.pushed[0], it.field, atol=1e-13)


def test_score_is_the_gradient_of_the_log_density():
    np.testing.assert_allclose(found().score, found().gradient, atol=1e-9)


def test_score_is_a_constant_to_differentiation():
    """The path gradient multiplies by it as a number."""
    loss = eqx.filter_grad(lambda flow, z: jnp.sum(flow.push_with_score(z)[2] ** 2))
    for leaf in jax.tree.leaves(eqx.filter_jit(loss)(filled(whole), noise((2, 4)))):
        np.testing.assert_array_equal(leaf, 0.0)


def test_one_configuration_has_the_same_density_alone_and_in_any_batch():
    """Mistakes seen in earlier codes: maps normalized by batch statistics; a change at batch size 1."""
    it = found()
    for fields, log_densities, index in ((*it.batch, 1), (*it.batch_of_one, 0)):
        np.testing.assert_allclose(fields[index], it.field, atol=1e-13)
        np.testing.assert_allclose(log_densities[index], it.log_density, atol=1e-12)


def test_stages_run_from_the_base_to_the_sample():
    flow, it = filled(whole), found()
    names = []
    jax.eval_shape(lambda z: names.extend(stage.name for stage in flow.stages(z)), it.z)
    assert names == ["base", "1 FourierDiagonal", "2 Affine", "3 ZeroMode", "4 Rescale"]
    base_field, base_log_density, _ = flow.base.push(jnp.asarray(it.z))
    np.testing.assert_allclose(it.stages[0][0], base_field, atol=1e-13)
    assert float(it.stages[0][1]) == pytest.approx(float(base_log_density), abs=1e-12)
    np.testing.assert_allclose(it.stages[-1][0], it.field, atol=1e-13)
    assert float(it.stages[-1][1]) == pytest.approx(float(it.log_density), abs=1e-12)


@pytest.mark.parametrize("last", range(5))
def test_density_of_every_stage_is_that_of_the_flow_cut_there(last):
    flow, it = filled(whole), found()
    cut = Flow(flow.base, Chain(flow.lattice, flow.bijection.maps[:last]))
    field, log_density = it.stages[last]
    assert float(eqx.filter_jit(Flow.log_density)(cut, field)) == pytest.approx(float(log_density), abs=1e-10)


def test_stages_of_a_single_map_that_is_no_chain():
    lattice = Lattice((3,))
    flow = Flow(Gaussian(lattice, dtype="float64"), Rescale(lattice, dtype="float64"))
    assert [stage.name for stage in flow.stages(jnp.ones(3))] == ["base", "1 Rescale"]


def test_sample_is_the_push_of_the_noise_of_its_key():
    flow = filled(lambda: local((4, 4)))
    sample = eqx.filter_jit(lambda flow, key: (flow.sample(key), flow.push(flow.noise(key))))
    (field, log_density), (expected, expected_log_density) = sample(flow, KEY)
    np.testing.assert_array_equal(field, expected)
    assert log_density == expected_log_density
    other, _ = sample(flow, jax.random.key(1))[0]
    assert np.max(np.abs(other - field)) > 0.1


def grid_of_noise(sites, points, reach=7.0):
    """A tensor grid and its cell: the trapezoidal rule is exact to rounding for smooth decaying functions."""
    axis = np.linspace(-reach, reach, points)
    z = np.stack(np.meshgrid(*[axis] * sites, indexing="ij"), axis=-1).reshape(-1, sites)
    return z, (axis[1] - axis[0]) ** sites


@eqx.filter_jit
def integrate(function, points):
    return jax.lax.map(function, points, batch_size=4096)


def test_density_on_two_by_two_integrates_to_one():
    lattice = Lattice((2, 2))

    def make():
        maps = [dense(lattice, Affine(), 0), dense(lattice, Affine(), 1), FourierDiagonal(lattice, dtype="float64")]
        return Flow(FreeField(lattice, mass=1.0, dtype="float64"), Chain(lattice, maps))

    flow = filled(make, 0.2)
    fields, cell = grid_of_noise(4, 20, reach=6.0)
    densities = integrate(lambda field: jnp.exp(flow.log_density(field.reshape(2, 2))), jnp.asarray(fields))
    assert float(jnp.sum(densities)) * cell == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_density_on_two_sites_integrates_to_one(kind):
    lattice = Lattice((2,))
    transformer = Affine() if kind == "affine" else Spline(4, 3.0)

    def make():
        bend = ZeroMode(lattice, bins=4, dtype="float64")
        maps = [dense(lattice, transformer, 0), dense(lattice, transformer, 1), bend]
        return Flow(Gaussian(lattice, dtype="float64"), Chain(lattice, maps))

    flow = filled(make)
    fields, cell = grid_of_noise(2, 401, reach=9.0)
    densities = integrate(lambda field: jnp.exp(flow.log_density(field)), jnp.asarray(fields))
    # The density of a spline has kinks at the knots: there the rule is of second order only.
    assert float(jnp.sum(densities)) * cell == pytest.approx(1.0, abs=1e-4)


def mean_weight(flow, action, points, reach=7.0):
    """log <exp(-residual)> over the noise, by quadrature: log Z for every flow, trained or not."""
    shape = flow.lattice.shape
    z, cell = grid_of_noise(flow.lattice.volume, points, reach)
    residuals = integrate(lambda z: flow.residual(action, z.reshape(shape)), jnp.asarray(z))
    normal = np.exp(-0.5 * np.sum(z**2, axis=1)) / (2 * np.pi) ** (z.shape[1] / 2)
    return np.log(np.sum(normal * np.exp(-np.asarray(residuals))) * cell)


def test_mean_weight_is_z_on_two_by_two():
    """<exp(-(log q + S))>_q = Z against direct quadrature of exp(-S)."""
    c = (-0.5, 0.3, 0.5)
    lattice = Lattice((2, 2))
    base = FreeField(lattice, mass=1.5, dtype="float64")
    flow = filled(lambda: Flow(base, Chain(lattice, [dense(lattice, Affine(), active) for active in (0, 1)])), 0.1)
    assert mean_weight(flow, Phi4(*c, 2), 20) == pytest.approx(square_lattice(*c).log_z, abs=1e-5)


def test_mean_weight_is_z_on_a_ring():
    c = (-0.9, 0.0, 0.5)
    lattice = Lattice((2,))

    def make():
        maps = [dense(lattice, Spline(4, 3.0), 0, z2=True), Rescale(lattice, dtype="float64")]
        return Flow(Gaussian(lattice, dtype="float64"), Chain(lattice, maps))

    flow = filled(make, 0.2)
    assert mean_weight(flow, Phi4(*c, 1), 301) == pytest.approx(ChainOracle(2, *c).log_z, abs=1e-4)


@pytest.mark.parametrize("shape", [(8,), (3, 4), (2, 2, 3)])
def test_residual_of_the_trivializing_map_is_minus_log_z(shape):
    """The free-field base trivializes the free field: the residual is one number, whatever the noise."""
    lattice, action = Lattice(shape), FreeScalar(0.6, len(shape))
    flow = Flow(FreeField(lattice, mass=0.6, dtype="float64"), Chain(lattice, []))
    residuals = jax.jit(jax.vmap(lambda z: flow.residual(action, z)))(noise(shape, 5))
    np.testing.assert_allclose(residuals, -action.log_z(lattice), atol=1e-11)


def test_fourier_map_of_white_noise_is_the_free_field():
    """The same trivializing map, as a bijection on a Gaussian base."""
    lattice, action = Lattice((4, 6)), FreeScalar(0.6, 2)
    bijection = FourierDiagonal(lattice, mass_squared=0.6, dtype="float64")
    flow = Flow(Gaussian(lattice, learnable=False, dtype="float64"), bijection)
    residuals = jax.jit(jax.vmap(lambda z: flow.residual(action, z)))(noise((4, 6), 5))
    np.testing.assert_allclose(residuals, -action.log_z(lattice), atol=1e-11)


def test_score_of_the_trivializing_map_is_the_force():
    """Where q = exp(-S)/Z, d log q / dphi = -dS/dphi: the path gradient vanishes configuration by configuration."""
    lattice, action = Lattice((4, 6)), FreeScalar(0.6, 2)
    flow = Flow(FreeField(lattice, mass=0.6, dtype="float64"), Chain(lattice, []))

    @jax.jit
    def both(z):
        field, _, score = flow.push_with_score(z)
        return score, action.force(field)

    score, force = both(noise((4, 6)))
    np.testing.assert_allclose(score, force, atol=1e-11)


def test_reverse_kl_gradient_equals_the_path_gradient_on_average():
    """E[(s - force) dphi/dtheta] = d/dtheta E[residual]: both integrated over the noise by quadrature."""
    lattice, action = Lattice((2,)), Phi4(-0.4, 0.2, 0.5, 1)
    flow = filled(lambda: Flow(Gaussian(lattice, dtype="float64"), dense(lattice, Affine(), 0)), 0.2)
    parameters, static = eqx.partition(flow, eqx.is_inexact_array)
    z, cell = grid_of_noise(2, 41)
    weights = jnp.asarray(np.exp(-0.5 * np.sum(z**2, axis=1)) / (2 * np.pi) * cell)

    def mean(per_configuration):
        return lambda p: jnp.sum(
            weights * jax.vmap(lambda z: per_configuration(eqx.combine(p, static), z))(jnp.asarray(z))
        )

    def path(flow, z):
        field, _, score = flow.push_with_score(z)
        return jnp.sum(field * jax.lax.stop_gradient(score - action.force(field)))

    plain = jax.jit(jax.grad(mean(lambda flow, z: flow.residual(action, z))))(parameters)
    along_path = jax.jit(jax.grad(mean(path)))(parameters)
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(along_path), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-8)
    assert max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(plain)) > 0.1


def test_single_precision_agrees_with_double():
    leaves = [leaf.astype(jnp.float32) for leaf in jax.tree.leaves(filled(whole))]
    single = jax.tree.unflatten(jax.tree.structure(filled(lambda: whole("float32"))), leaves)
    field, log_density, score = eqx.filter_jit(Flow.push_with_score)(single, noise((2, 4), dtype=np.float32))
    assert field.dtype == score.dtype == jnp.float32
    assert log_density.dtype == jnp.float64
    np.testing.assert_allclose(field, found().field, atol=1e-5)
    np.testing.assert_allclose(score, found().score, rtol=1e-4, atol=1e-4)
    assert float(log_density) == pytest.approx(float(found().log_density), abs=1e-4)


def test_parameters_are_counted():
    lattice = Lattice((4, 4))
    base = FreeField(lattice, mass=1.0, dtype="float32")
    flow = filled(lambda: Flow(base, Chain(lattice, [dense(lattice, Affine(), 0)])))
    orbits, sites, hidden = 6, 8, 3
    assert flow.parameters == orbits + (sites + 1) * hidden + (hidden + 1) * 2 * sites


def test_couplings_of_one_flow_share_no_parameters():
    """Mistake seen in earlier codes: layers that share weights by accident. One gradient step moves each on its own."""
    flow = filled(lambda: local((4, 4)))
    gradient = eqx.filter_jit(eqx.filter_grad(lambda flow, z: flow.push(z)[1] + jnp.sum(flow.push(z)[0])))(
        flow, noise((4, 4))
    )
    first, second = (jax.tree.leaves(gradient.bijection.maps[index]) for index in (0, 1))
    for one, other in zip(first, second, strict=True):
        assert np.max(np.abs(one - other)) > 1e-3


def test_resized_flow_is_a_flow_on_the_new_lattice():
    flow = filled(lambda: local((4,))).resize(Lattice((8,)))
    assert flow.lattice == flow.bijection.lattice == Lattice((8,))
    z = noise((8,))
    jacobian = jax.jit(jax.jacrev(lambda z: flow.push(z)[0]))(z)
    normal = -0.5 * float(z @ z) - 4 * np.log(2 * np.pi)
    _, log_density = eqx.filter_jit(Flow.push)(flow, z)
    assert float(log_density) == pytest.approx(normal - np.linalg.slogdet(jacobian)[1], abs=1e-10)


def test_resize_of_a_dense_flow_is_refused():
    with pytest.raises(InputError, match=r"coupling: its network needs lattice \[2, 4\].*use a convolutional"):
        filled(whole).resize(Lattice((4, 8)))


def test_base_and_bijection_must_share_their_lattice():
    with pytest.raises(
        InputError, match=r"flow: the base lives on lattice \[4\], the bijection on \[6\]; they must be"
    ):
        Flow(Gaussian(Lattice((4,)), dtype="float32"), Rescale(Lattice((6,)), dtype="float32"))


class Tilted(AbstractAction):
    """A field that is stronger at one site: neither odd nor translation invariant, whatever it declares."""

    declared: frozenset[str] = frozenset()

    def __call__(self, field):
        return jnp.sum(0.5 * field**2, dtype=float) - 0.3 * field[0].astype(float)

    @property
    def symmetries(self):
        return self.declared


def symmetric():
    lattice = Lattice((4,))
    return Flow(FreeField(lattice, mass=0.8, dtype="float64"), Chain(lattice, [Rescale(lattice, dtype="float64")]))


def test_symmetries_of_a_flow_are_those_that_base_and_maps_share():
    everything = {"z2", "translations", "even-translations", "point-group"}
    assert symmetric().equivariant_under == everything
    lattice = Lattice((4,))
    for map_, left in ((conv(lattice, Affine(), 0), {"z2", "even-translations"}), (dense(lattice, Affine(), 0), set())):
        flow = Flow(Gaussian(lattice, dtype="float64"), Chain(lattice, [Rescale(lattice, dtype="float64"), map_]))
        assert flow.equivariant_under == left
        if left == set():
            flow.require_match(Tilted(), evaluate=True)


def test_a_symmetric_flow_refuses_an_action_that_is_not():
    """By what it declares; and one that declares too much by its values, before anything is trained or drawn."""
    flow, lying = symmetric(), Tilted(frozenset({"z2", "translations", "point-group"}))
    for use in (
        lambda action: fit(flow, action, KEY, steps=1),
        lambda action: draw(flow, action, KEY, proposals=800),
    ):
        with pytest.raises(InputError, match=r"flow: has the symmetry 'even-translations' .* and Tilted lacks it"):
            use(Tilted())
    for use in (
        lambda action: fit(flow, action, KEY, steps=1),
        lambda action: draw(flow, action, KEY, proposals=800),
    ):
        with pytest.raises(InputError, match="Tilted declares the symmetry 'even-translations', but S changes"):
            use(lying)
    # The kernels by themselves are exact whatever the map.
    for kernel in (IndependenceMetropolis, FlowPotential, FlowPath):
        kernel(flow, Tilted())


def test_another_shape_is_refused():
    flow = symmetric()
    for call in (flow.log_density, flow.push):
        with pytest.raises(InputError, match=r"takes one configuration of shape \(4,\), got .* \(3, 4\); batches"):
            call(jnp.zeros((3, 4)))
    assert jax.vmap(flow.log_density)(jnp.zeros((3, 4))).shape == (3,)
