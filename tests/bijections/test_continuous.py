"""The continuous flow: its velocity against the formula, its symmetries, and how fast its integration converges."""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.maps import filled
from tests.symmetries import point_group, transformed
from trivmap import InputError, Lattice
from trivmap.bijections import (
    AbstractBijection,
    Chain,
    Continuous,
    Features,
    FourierDiagonal,
    KernelBasis,
    Rescale,
    Smeared,
)

SMEARED = Features("tanh", (0.9,), (), (Smeared(0.8, (0.6, 1.7)),))
LOCAL = Features("algebraic", (0.5, 1.3), (), (), False)
TAILS = KernelBasis(1, (0.6,))
WHOLE = KernelBasis(None, ())
VELOCITIES = {
    "line": ((5,), SMEARED, TAILS),
    "square": ((4, 4), SMEARED, TAILS),
    "oblong": ((3, 4), LOCAL, WHOLE),
    "cuboid": ((3, 2, 3), Features("sine", (0.4,), (), (Smeared(1.2, (0.7,)),)), WHOLE),
}


def flow_on(shape, features=SMEARED, kernels=TAILS, dtype="float64", scale=0.3, seed=2, **options):
    options = {"features": features, "kernel": kernels, "dtype": dtype, "times": 3, "steps": 2, **options}
    return filled(lambda: Continuous(Lattice(shape), **options), scale, seed)


def fields(shape, count=None, seed=3):
    size = shape if count is None else (count, *shape)
    return jnp.asarray(np.random.default_rng(seed).normal(size=size))


@eqx.filter_jit
def push(flow, x, s):
    return jax.vmap(flow.forward_with_score)(x, s)


@eqx.filter_jit
def velocity(flow, field, time):
    """v, div v, and the Jacobian of v in the field."""
    moved, divergence = flow._velocity(field, time)
    jacobian = jax.jacobian(lambda phi: flow._velocity(phi, time)[0])(field)
    return moved, divergence, jacobian.reshape(field.size, field.size)


def formula(flow, field, time):
    """sum_f W_f * h_f, the kernels multiplied with the features momentum by momentum in a full FFT."""
    lattice, axes = flow.lattice, tuple(range(1, 1 + field.ndim))
    cosines = np.cos(np.pi * np.arange(len(flow.coefficients)) * time)
    at_time = np.tensordot(cosines, np.asarray(flow.coefficients), axes=1)
    spectra = (at_time @ flow.kernel.spectra(lattice))[:, lattice.orbits]
    smeared = np.fft.ifftn(flow.features.filters(lattice)[:, lattice.orbits] * np.fft.fftn(field), axes=axes).real
    h = {"tanh": np.tanh, "algebraic": lambda u: u / np.sqrt(1 + u**2), "sine": np.sin}[flow.features.family]
    widths = [width for _, widths in flow.features.scales for width in widths]
    first = int(flow.features.linear)
    values = [*smeared[:first], *(h(w * each) / w for w, each in zip(widths, smeared[first:], strict=True))]
    return np.sum(np.fft.ifftn(spectra * np.fft.fftn(values, axes=axes), axes=axes).real, axis=0)


@pytest.mark.parametrize("name", VELOCITIES)
def test_velocity_is_the_formula_and_its_divergence_the_trace(name):
    shape, features, kernels = VELOCITIES[name]
    flow, field = flow_on(shape, features, kernels), fields(shape)
    moved, divergence, jacobian = velocity(flow, field, jnp.asarray(0.3))
    np.testing.assert_allclose(moved, formula(flow, field, 0.3), atol=1e-13)
    assert float(divergence) == pytest.approx(np.trace(jacobian), abs=1e-12)
    assert abs(float(divergence)) > 0.05
    assert np.max(np.abs(moved)) > 0.1


@pytest.mark.parametrize("name", VELOCITIES)
def test_map_commutes_with_every_symmetry_of_the_lattice_and_with_z2(name):
    """However coarse the integration: every step is as equivariant as the flow."""
    shape, features, kernels = VELOCITIES[name]
    flow, x, s = flow_on(shape, features, kernels), fields(shape), fields(shape, seed=4)
    group, rolls = list(point_group(shape)), np.eye(len(shape), dtype=int)
    assert len(group) == {"line": 2, "square": 8, "oblong": 4, "cuboid": 16}[name]

    def images(field):
        field, axes = np.asarray(field), tuple(range(len(shape)))
        moved = [transformed(element, np.roll(field, (1,) * len(shape), axes)) for element in group]
        return np.stack([field, -field, *(np.roll(field, shift, axes) for shift in rolls), *moved])

    y, log_det, score = push(flow, jnp.asarray(images(x)), jnp.asarray(images(s)))
    np.testing.assert_allclose(y, images(y[0]), atol=1e-12)
    np.testing.assert_allclose(score, images(score[0]), atol=1e-12)
    np.testing.assert_allclose(log_det, log_det[0], atol=1e-12)
    assert np.max(np.abs(y[0] - x)) > 0.1


SHAPE = (3, 2)
SHIFTS = (1e-6, 0.4, 1 - 1e-6)


@eqx.filter_jit
def plainly(flow, x):
    """Forward and its Jacobian, and the way back."""
    y, log_det = flow.forward(x)
    jacobian = jax.jacobian(lambda x: flow.forward(x)[0])(x)
    return {"y": y, "log_det": log_det, "jacobian": jacobian.reshape(x.size, x.size), "back": flow.inverse(y)}


@eqx.filter_jit
def with_scores(flow, x):
    """The score by transport and by the default, from d log q / dx = -x."""
    return {
        "moved": flow.forward_with_score(x, -x),
        "default": AbstractBijection.forward_with_score(flow, x, -x)[2],
    }


@eqx.filter_jit
def with_shifts(flow, x):
    return jax.vmap(lambda u: flow.perturbed(u).forward_with_score(x, -x))(jnp.asarray(SHIFTS))


@eqx.filter_jit
def way_back(flow, y):
    """x, log |det dx/dy| and d log q / dy of log q(x) = -x^2 / 2 by autodiff; x on a shifted time grid."""

    def log_density(y):
        x, log_det = flow.inverse(y)
        return log_det - 0.5 * jnp.sum(x * x)

    return *flow.inverse(y), jax.grad(log_density)(y), flow.perturbed(jnp.asarray(0.4)).inverse(y)[0]


@cache
def found(program, scheme, steps):
    flow = flow_on(SHAPE, scale=0.25, scheme=scheme).with_integration_steps(steps)
    return jax.device_get(program(flow, fields(SHAPE)))


@cache
def exact():
    """y, log det, score at so many steps that their error is below 1e-10."""
    flow = flow_on(SHAPE, scale=0.25, steps=256)
    return [jax.device_get(value[0]) for value in push(flow, fields(SHAPE, 1), -fields(SHAPE, 1))]


def largest(difference):
    return float(np.max(np.abs(difference)))


@pytest.mark.parametrize("scheme", ["rk3", "rk4"])
def test_errors_fall_at_the_order_of_the_scheme_when_steps_double(scheme):
    """The field's; that of log det as the determinant of the map actually taken; what is left of x after going back."""

    def errors(steps):
        it = found(plainly, scheme, steps)
        back, back_log_det = it["back"]
        return [
            largest(it["y"] - exact()[0]),
            abs(it["log_det"] - np.linalg.slogdet(it["jacobian"])[1]),
            abs(it["log_det"] - exact()[1]),
            largest(back - fields(SHAPE)),
            abs(back_log_det + it["log_det"]),
        ]

    coarse, fine = np.array(errors(8)), np.array(errors(16))
    order = {"rk3": 3, "rk4": 4}[scheme]
    assert np.all(fine > 1e-8)
    assert np.all(fine < {"rk3": 5e-4, "rk4": 3e-6}[scheme])
    assert np.all(np.log2(coarse / fine) > order - 0.5)


def test_transported_score_converges_to_the_default_and_to_autodiff_of_the_density():
    """The default is exact for the steps taken back, the transport is not: they differ by the error of the steps."""
    default = [largest((it := found(with_scores, "rk4", n))["moved"][2] - it["default"]) for n in (8, 16)]
    true = [largest(found(with_scores, "rk4", n)["moved"][2] - exact()[2]) for n in (8, 16)]
    for coarse, fine in (default, true):
        assert 1e-7 < fine < 1e-5
        assert np.log2(coarse / fine) > 3.5
    assert largest(exact()[2] + fields(SHAPE)) > 0.1
    y, _, score = exact()
    x, log_det, by_autodiff, _ = way_back(flow_on(SHAPE, scale=0.25, steps=128), y)
    np.testing.assert_allclose(x, fields(SHAPE), atol=1e-10)
    assert float(log_det) == pytest.approx(-float(exact()[1]), abs=1e-9)
    np.testing.assert_allclose(by_autodiff, score, atol=5e-9)


def test_shifted_time_grids_give_the_same_map_to_the_error_of_the_integration():
    shifted, plainly_moved = found(with_shifts, "rk4", 16), found(with_scores, "rk4", 16)["moved"]
    for value, plain, true, error in zip(shifted, plainly_moved, exact(), (3e-6, 2e-6, 7e-6), strict=True):
        for index in range(len(SHIFTS)):
            assert largest(value[index] - true) < error
        # Close to its ends the grid is the plain one with an empty step.
        assert largest(value[0] - plain) < 1e-9
        assert largest(value[2] - plain) < 1e-9
        assert largest(value[1] - plain) > 1e-8
    y, _, _ = exact()
    back = way_back(flow_on(SHAPE, scale=0.25, steps=128), y)[3]
    np.testing.assert_allclose(back, fields(SHAPE), atol=1e-8)


def test_shifted_grid_is_no_parameter():
    flow = flow_on((4,))
    shifted = flow.perturbed(jnp.asarray(0.3))
    assert eqx.tree_equal(shifted.perturbed(jnp.asarray(0.6)), flow.perturbed(jnp.asarray(0.6)))
    assert eqx.tree_equal(shifted.coefficients, flow.coefficients)
    assert flow.offset is None
    again = shifted.with_integration_steps(9)
    assert again.integration_steps == 9
    assert float(again.offset) == pytest.approx(0.3)


def test_number_of_steps_can_be_changed_and_only_that():
    flow = flow_on((4,), scheme="rk3", smoothness=0.7)
    changed = flow.with_integration_steps(5)
    assert (flow.integration_steps, changed.integration_steps) == (2, 5)
    assert eqx.tree_equal(changed, flow_on((4,), scheme="rk3", smoothness=0.7, steps=5))
    assert eqx.tree_equal(changed.with_integration_steps(2), flow)


def test_chain_hands_shifts_and_steps_to_its_continuous_maps():
    lattice, u = Lattice((4,)), jnp.asarray(0.3)
    first, last, plain = flow_on((4,), steps=2), flow_on((4,), steps=7, seed=5), Rescale(lattice, dtype="float64")
    chain = Chain(lattice, [first, Chain(lattice, [plain, last])])
    assert chain.integration_steps == 7
    shifted = Chain(lattice, [first.perturbed(u), Chain(lattice, [plain, last.perturbed(u)])])
    assert eqx.tree_equal(chain.perturbed(u), shifted)
    finer = [first.with_integration_steps(9), Chain(lattice, [plain, last.with_integration_steps(9)])]
    assert eqx.tree_equal(chain.with_integration_steps(9), Chain(lattice, finer))


def test_exact_maps_have_no_steps_and_no_grid_to_shift():
    lattice = Lattice((4,))
    for exact_map in (Rescale(lattice, dtype="float64"), FourierDiagonal(lattice, dtype="float64")):
        assert exact_map.perturbed(jnp.asarray(0.3)) is exact_map
        assert exact_map.with_integration_steps(9) is exact_map
        assert exact_map.integration_steps is None
    assert Chain(lattice, [Rescale(lattice, dtype="float64")]).integration_steps is None


def test_ridge_grows_with_the_fourth_power_of_the_frequency():
    flow = flow_on((4,), smoothness=0.02)
    ridge = flow.l2_weights()
    assert ridge.coefficients.shape == flow.coefficients.shape
    for n in range(3):
        np.testing.assert_allclose(ridge.coefficients[n], 0.02 * n**4, rtol=1e-15)
    plain = Rescale(flow.lattice, dtype="float64")
    of_chain = Chain(
        flow.lattice, [flow, eqx.tree_at(lambda map_: map_.log_scale, plain, jnp.asarray(0.7))]
    ).l2_weights()
    assert eqx.tree_equal(of_chain, Chain(flow.lattice, [ridge, plain]))


def test_stages_are_the_points_along_the_way():
    """With kernels constant in time, half of the time is the whole time of half the velocity."""
    flow, x, names = flow_on((4,), times=1, steps=8), fields((4,)), []
    slower = eqx.tree_at(lambda flow: flow.coefficients, flow, flow.coefficients / 2).with_integration_steps(4)

    @jax.jit
    def run(x):
        stages = list(flow.stages(x))
        names.extend(name for name, _, _ in stages)
        return [stage[1:] for stage in stages], [slower.forward(x), flow.forward(x)]

    stages, ends = run(x)
    assert names == [
        "Continuous t=0.25",
        "Continuous t=0.5",
        "Continuous t=0.75",
        "Continuous t=1",
    ]
    for (field, log_det), (y, expected) in zip(stages[1::2], ends, strict=True):
        np.testing.assert_allclose(field, y, atol=1e-13)
        assert float(log_det) == pytest.approx(float(expected), abs=1e-13)


@pytest.mark.parametrize(
    ("shape", "features", "kernels"),
    [((5,), LOCAL, KernelBasis(2, ())), ((4, 3), SMEARED, KernelBasis(None, (0.6,))), ((2, 2, 3), SMEARED, TAILS)],
    ids=["line", "plane", "space"],
)
def test_resized_velocity_of_a_repeated_field_is_the_velocity_repeated(shape, features, kernels):
    """Halved weights at L/2 meet again; tails and filters see the momenta of one period."""
    flow, field, times = flow_on(shape, features, kernels), fields(shape), jnp.asarray(0.3)
    larger = flow.resize(Lattice(2 * extent for extent in shape))
    repeat = (2,) * len(shape)
    move = eqx.filter_jit(lambda flow, field: flow._velocity(field, times))
    moved, divergence = move(flow, field)
    tiled, tiled_divergence = move(larger, jnp.tile(field, repeat))
    np.testing.assert_allclose(tiled, np.tile(moved, repeat), atol=1e-13)
    if kernels.radius == 2:
        assert float(tiled_divergence) == pytest.approx(2 * float(divergence), abs=1e-13)
    kept = [getattr(larger, name) == getattr(flow, name) for name in ("features", "kernel", "scheme", "steps")]
    assert all(kept)
    assert larger.smoothness == flow.smoothness


def test_single_precision_agrees_with_double():
    x = fields(SHAPE, 1).astype(jnp.float32)
    moved = push(flow_on(SHAPE, scale=0.25, steps=16, dtype="float32"), x, -x)
    assert [value.dtype.name for value in moved] == ["float32", "float64", "float32"]
    for value, expected in zip(moved, found(with_scores, "rk4", 16)["moved"], strict=True):
        np.testing.assert_allclose(value[0], expected, atol=5e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"times": 0}, "times: must be at least 1, got 0"),
        ({"steps": 0}, "steps: must be at least 1, got 0"),
        ({"scheme": "rk5"}, "scheme: 'rk5' is unknown; did you mean rk4?"),
    ],
)
def test_mistakes_are_told_in_one_sentence(options, message):
    with pytest.raises(InputError) as caught:
        flow_on((4,), **options)
    assert str(caught.value) == message


def test_another_dimension_is_refused():
    with pytest.raises(InputError, match=r"^Continuous: cannot be carried from 1 to 2 dimensions$"):
        flow_on((4,)).resize(Lattice((4, 4)))
