"""The contract of a bijection, for every map: a new map is one line in `CASES`.

Oracle of every derivative is the full Jacobian in float64. Per map, one program computes all numbers, once.
"""

import io
from collections.abc import Callable
from functools import cache, partial
from types import SimpleNamespace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import InputError, Lattice
from trivmap.actions.symmetry import EVERY, images
from trivmap.bijections import (
    AbstractBijection,
    Additive,
    Affine,
    Chain,
    Continuous,
    ConvolutionalNetwork,
    Coupling,
    DenseConditioner,
    Features,
    FourierDiagonal,
    KernelBasis,
    Rescale,
    Smeared,
    Spline,
    ZeroMode,
)
from trivmap.bijections.transformers import AbstractTransformer

Make = Callable[..., AbstractBijection]


def dense(transformer: AbstractTransformer, hidden=(5,), activation="tanh", z2=True, active=0) -> Make:
    def make(lattice, dtype, key):
        options = {"hidden": hidden, "activation": activation, "z2": z2, "dtype": dtype, "key": key}
        return Coupling(lattice, active, transformer, DenseConditioner(lattice, transformer, **options))

    return make


def conv(transformer: AbstractTransformer, hidden=(3,), activation="tanh", z2=True, active=0, kernel=3) -> Make:
    def make(lattice, dtype, key):
        options = {"active": active, "z2": z2, "dtype": dtype, "key": key}
        conditioner = ConvolutionalNetwork(hidden, activation, kernel).conditioner(lattice, transformer, **options)
        return Coupling(lattice, active, transformer, conditioner)

    return make


def plain(kind: type[AbstractBijection], **options) -> Make:
    return lambda lattice, dtype, key: kind(lattice, dtype=dtype, **options)


def chain(*makes: Make) -> Make:
    def make(lattice, dtype, key):
        keys = jax.random.split(key, len(makes))
        return Chain(lattice, [part(lattice, dtype, k) for part, k in zip(makes, keys, strict=True)])

    return make


class Case(NamedTuple):
    """A map, its lattice, and what it claims: odd under phi -> -phi; equivariant under translations; resizable."""

    make: Make
    shape: tuple[int, ...]
    z2: bool = True
    translations: str = "all"  # or "even", or "none"
    resizable: bool = True


# Integrated in so many steps that the error lies below the tolerances of maps that are exact.
FINE = {
    "features": Features("tanh", (), (), (Smeared(0.9, (0.7,)),)),
    "kernel": KernelBasis(1, [0.8]),
    "times": 2,
    "steps": 400,
}
SPLINE = Spline(bins=5, interval=2.5)
EVEN = {"translations": "even"}
FIXED = {"translations": "none", "resizable": False}
CASES = {
    "additive-dense": Case(dense(Additive()), (4,), **FIXED),
    "additive-conv-plain": Case(conv(Additive(), hidden=(), z2=False, active=1), (2, 4, 4), z2=False, **EVEN),
    "affine-dense": Case(dense(Affine(), active=1), (4, 6), **FIXED),
    "affine-dense-plain": Case(dense(Affine(), (6, 4), "silu", z2=False), (2, 2, 4), z2=False, **FIXED),
    "affine-dense-linear": Case(dense(Affine(), hidden=()), (6,), **FIXED),
    "affine-conv": Case(conv(Affine(), hidden=(3,), active=1), (4, 6), **EVEN),
    "affine-conv-plain": Case(conv(Affine(), (2, 3), "gelu", z2=False, kernel=5), (8,), z2=False, **EVEN),
    "affine-conv-two-pass": Case(conv(Affine(), activation="softplus"), (6,), **EVEN),
    "spline-dense": Case(dense(SPLINE), (2, 4), **FIXED),
    "spline-dense-plain": Case(dense(Spline(4, 2.0), activation="elu", z2=False), (6,), z2=False, **FIXED),
    "spline-conv": Case(conv(SPLINE, hidden=()), (4, 4), **EVEN),
    "spline-conv-plain": Case(conv(Spline(4, 3.0), z2=False, active=1), (8,), z2=False, **EVEN),
    "rescale": Case(plain(Rescale), (3, 5)),
    "fourier": Case(plain(FourierDiagonal), (3, 5)),
    "fourier-free": Case(plain(FourierDiagonal, mass_squared=0.7), (6,)),
    "zero-mode": Case(plain(ZeroMode, bins=6, interval=3.0), (3, 3)),
    "zero-mode-plain": Case(plain(ZeroMode, bins=5, interval=3.0, z2=False), (4,), z2=False),
    "continuous": Case(plain(Continuous, **FINE), (2, 3)),
    "chain": Case(
        chain(plain(FourierDiagonal), chain(conv(Affine())), conv(Additive(), active=1), chain(plain(ZeroMode))),
        (6,),
        **EVEN,
    ),
}
# Those at which the start is not the identity, because that is what they are for.
NOT_IDENTITY = {"fourier-free"}
# One field does not visit every bin of a spline; one convolution sees zeros at every second displacement. There
# every array must be reached, elsewhere every number.
PARTLY_REACHED = {name for name in CASES if "spline" in name or "zero-mode" in name} | {"additive-conv-plain", "chain"}
BATCH = 5


def randomized(tree, seed=2, scale=0.3):
    """Every parameter moved by a normal number, smaller for wider layers so that the map stays well conditioned."""
    rng = np.random.default_rng(seed)
    parameters, static = eqx.partition(tree, eqx.is_inexact_array)

    def moved(leaf):
        width = scale / leaf.shape[0] ** 0.5 if leaf.ndim == 2 else scale
        return jnp.asarray(np.asarray(leaf) + width * rng.normal(size=leaf.shape), leaf.dtype)

    return eqx.combine(jax.tree.map(moved, parameters), static)


@cache
def initial(name: str) -> AbstractBijection:
    case = CASES[name]
    return case.make(Lattice(case.shape), "float64", jax.random.key(1))


def fields_for(lattice: Lattice, count: int = BATCH) -> jax.Array:
    """Normal fields around offsets that reach every bin of a zero-mode map."""
    offsets = np.linspace(-1.8, 1.7, count).reshape(count, *[1] * lattice.dimension)
    return jnp.asarray(np.random.default_rng(3).normal(size=(count, *lattice.shape)) + offsets)


def shifts(case: Case) -> list[tuple[int, ...]]:
    """Generators of the translations that the map commutes with."""
    dimension = len(case.shape)
    one = [tuple(int(axis == a) for axis in range(dimension)) for a in range(dimension)]
    if case.translations == "all":
        return one
    if case.translations == "none":
        return []
    diagonal = [tuple(map(sum, zip(one[0], other, strict=True))) for other in one]  # the first: two sites along axis 0
    return diagonal


@eqx.filter_jit
def differentiate(bijection, x):
    """Value and every derivative of one configuration: with respect to the field, and to the parameters."""
    parameters, static = eqx.partition(bijection, eqx.is_inexact_array)
    (y, log_det), pull = jax.vjp(lambda p, f: eqx.combine(p, static).forward(f), parameters, x)
    rows = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
    by_parameters, jacobian = jax.vmap(lambda row: pull((row, jnp.zeros_like(log_det))))(rows)
    of_log_det, gradient = pull((jnp.zeros_like(y), jnp.ones_like(log_det)))
    reach = jax.tree.map(lambda a, b: jnp.sum(jnp.abs(a), axis=0) + jnp.abs(b), by_parameters, of_log_det)
    return y, log_det, jacobian.reshape(x.size, x.size), gradient, reach


@eqx.filter_jit
def push(bijection, fields, scores):
    return jax.vmap(bijection.forward_with_score)(fields, scores)


@eqx.filter_jit
def pull_back(bijection, fields, scores):
    """Inverse, its log-determinant, and d/dy [log q(x(y)) + log |det dx/dy|] for a log q of the given scores."""

    def one(y, score):
        (x, log_det), pull = jax.vjp(bijection.inverse, y)
        return x, log_det, pull((score, jnp.ones_like(log_det)))[0]

    return jax.vmap(one)(fields, scores)


@pytest.fixture(scope="module", params=CASES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def found(name):
    start = initial(name)
    lattice, axes = start.lattice, tuple(range(1, 1 + start.lattice.dimension))
    bijection = randomized(start)
    x = fields_for(lattice)
    s = jnp.asarray(np.random.default_rng(4).normal(size=x.shape))
    y, log_det, score = push(bijection, x, s)
    return SimpleNamespace(
        x=x,
        s=s,
        y=y,
        log_det=log_det,
        score=score,
        start=push(start, x, s),
        one=differentiate(bijection, x[0]),
        back=pull_back(bijection, y[:1], s[:1]),
        mirrored=push(bijection, -x, -s),
        translated=[
            (shift, push(bijection, jnp.roll(x, shift, axes), jnp.roll(s, shift, axes)))
            for shift in shifts(CASES[name])
        ],
    )


def close(actual, desired, tolerance):
    np.testing.assert_allclose(actual, desired, rtol=tolerance, atol=tolerance)


def test_start_is_the_identity(name, found):
    y, log_det, score = found.start
    if name in NOT_IDENTITY:
        assert np.max(np.abs(y - found.x)) > 0.1
    else:
        close(y, found.x, 1e-13)
        close(log_det, 0.0, 1e-13)
        close(score, found.s, 1e-13)


def test_round_trip(found):
    x, log_det, _ = found.back
    close(x[0], found.x[0], 1e-11)
    close(log_det[0], -found.log_det[0], 1e-10)


def test_log_det_is_that_of_the_jacobian(found):
    _, log_det, jacobian, _, _ = found.one
    sign, expected = np.linalg.slogdet(jacobian)
    assert sign == 1.0
    assert abs(log_det - expected) < 1e-10


def test_map_moves_the_field(found):
    """Else the other tests would pass for a map that ignores its parameters."""
    assert np.max(np.abs(found.y - found.x)) > 0.05


def test_score_against_the_jacobian(found):
    """s_y = J^-T (s_x - d log det/dx)."""
    _, _, jacobian, gradient, _ = found.one
    expected = np.linalg.solve(np.asarray(jacobian).T, np.ravel(found.s[0] - gradient))
    close(np.ravel(found.score[0]), expected, 1e-10)


def test_score_against_autodiff_of_the_density(found):
    close(found.score[0], found.back[2][0], 1e-9)


def test_one_configuration_alone_and_in_any_batch(found):
    """Forward alone and in a batch of five; inverse in a batch of one."""
    y, log_det, _, _, _ = found.one
    close(found.y[0], y, 1e-13)
    close(found.log_det[0], log_det, 1e-13)
    close(found.back[1][0], -log_det, 1e-10)


def test_odd_if_and_only_if_claimed(name, found):
    y, log_det, score = found.mirrored
    if CASES[name].z2:
        close(y, -found.y, 1e-12)
        close(log_det, found.log_det, 1e-12)
        close(score, -found.score, 1e-11)
    else:
        assert np.max(np.abs(y + found.y)) > 1e-3


def test_equivariant_under_the_translations_claimed(name, found):
    lattice_axes = tuple(range(1, found.x.ndim))
    for shift, (y, log_det, score) in found.translated:
        close(y, np.roll(found.y, shift, lattice_axes), 1e-12)
        close(log_det, found.log_det, 1e-12)
        close(score, np.roll(found.score, shift, lattice_axes), 1e-11)
    if CASES[name].translations != "all":
        length = 1 if CASES[name].translations == "even" else 2
        y, _, _ = push(randomized(initial(name)), jnp.roll(found.x, length, -1), found.s)
        assert np.max(np.abs(y - np.roll(found.y, length, -1))) > 1e-3


def disagreement(bijection, x, symmetry):
    """Largest |f(g x) - g f(x)| over the generators g of a symmetry, and change of log det."""
    moved = list(images(bijection.lattice, symmetry))
    forward = eqx.filter_jit(lambda b, fields: jax.vmap(b.forward)(fields))
    y, log_dets = forward(bijection, jnp.stack([x, *(image(x) for image in moved)]))
    expected = jnp.stack([image(y[0]) for image in moved])
    return max(float(jnp.max(jnp.abs(y[1:] - expected))), float(jnp.max(jnp.abs(log_dets[1:] - log_dets[0]))))


def test_equivariant_under_what_is_declared(name, found):
    case, bijection = CASES[name], randomized(initial(name))
    expected = {"all": {"translations", "even-translations"}, "even": {"even-translations"}, "none": set()}
    assert bijection.equivariant_under - {"point-group"} == expected[case.translations] | ({"z2"} if case.z2 else set())
    assert ("point-group" in bijection.equivariant_under) == (case.translations == "all")
    for symmetry in bijection.equivariant_under:
        assert disagreement(bijection, found.x[0], symmetry) < 1e-11


def test_a_map_that_claims_too_much_is_found():
    class Liar(ZeroMode):
        @property
        def equivariant_under(self):
            return EVERY

    liar = randomized(Liar(Lattice((4,)), bins=5, interval=3.0, z2=False, dtype="float64"))
    x = fields_for(liar.lattice)[0]
    assert disagreement(liar, x, "z2") > 1e-3
    assert disagreement(liar, x, "translations") < 1e-12


def test_gradient_reaches_every_parameter(name, found):
    reach = jax.tree.leaves(found.one[4])
    assert sum(leaf.size for leaf in reach) == sum(leaf.size for leaf in jax.tree.leaves(parameters_of(name)))
    for leaf in reach:
        reached = leaf > 1e-9
        assert leaf.size == 0 or (np.any(reached) if name in PARTLY_REACHED else np.all(reached))


def parameters_of(name: str):
    return eqx.filter(initial(name), eqx.is_inexact_array)


@pytest.mark.parametrize("x64", [True, False])
def test_single_precision_stays(name, x64):
    """Fields and parameters keep float32 under strict promotion; log-determinants are accumulated in float64."""
    case = CASES[name]
    with jax.enable_x64(x64):
        build = partial(case.make, Lattice(case.shape), jnp.float32)
        bijection = eqx.filter_eval_shape(build, jax.random.key(0))
        assert {leaf.dtype.name for leaf in jax.tree.leaves(bijection)} == {"float32"}
        field = jax.ShapeDtypeStruct(case.shape, jnp.float32)
        y, log_det, score = eqx.filter_eval_shape(lambda b, x: b.forward_with_score(x, x), bijection, field)
        x, back_log_det = eqx.filter_eval_shape(lambda b, y: b.inverse(y), bijection, field)
    assert {y.dtype.name, score.dtype.name, x.dtype.name} == {"float32"}
    assert {log_det.dtype.name, back_log_det.dtype.name} == {"float64" if x64 else "float32"}


def test_resize_keeps_the_map_or_is_refused(name):
    """On a field that repeats itself the resized map must do what the map did to one period."""
    bijection = randomized(initial(name))
    doubled = Lattice(2 * extent for extent in bijection.lattice.shape)
    if not CASES[name].resizable:
        with pytest.raises(InputError, match=r"cannot be carried .*\[.*\] and cannot|cannot be carried to"):
            bijection.resize(doubled)
        return
    x = fields_for(bijection.lattice)[0]
    repeat = (2,) * x.ndim
    resized = bijection.resize(doubled)
    assert resized.lattice == doubled
    y, _ = eqx.filter_jit(lambda b, x: b.forward(x))(resized, jnp.tile(x, repeat))
    close(y, np.tile(bijection_forward(name), repeat), 1e-12)


def bijection_forward(name: str):
    bijection = randomized(initial(name))
    return differentiate(bijection, fields_for(bijection.lattice)[0])[0]


def test_saved_parameters_rebuild_the_map(name):
    trained, file = randomized(initial(name)), io.BytesIO()
    eqx.tree_serialise_leaves(file, trained)
    file.seek(0)
    loaded = eqx.tree_deserialise_leaves(file, initial(name))
    assert eqx.tree_equal(loaded, trained)
    assert not eqx.tree_equal(loaded, initial(name))
