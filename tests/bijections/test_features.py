"""The features of a continuous flow against their formulas, site by site."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import InputError, Lattice
from trivmap.bijections import Features, Smeared
from trivmap.bijections.features import FAMILIES
from trivmap.fourier import Modes

FORMULAS = {
    "tanh": (np.tanh, lambda u: np.cosh(u) ** -2.0),
    "algebraic": (lambda u: u / np.sqrt(1 + u**2), lambda u: (1 + u**2) ** -1.5),
    "sine": (np.sin, np.cos),
}
SCALES = [(None, (0.5, 2.0)), ("neighbors", (0.8,)), (0.7, (1.5,)), (2.0, (0.3, 1.1))]
SETTINGS = ((0.5, 2.0), (0.8,), (Smeared(0.7, (1.5,)), Smeared(2.0, (0.3, 1.1))))
"""The same as widths, neighbors and smeared."""


def smear(field, kind):
    """A phi: site by site for the mean over the neighbors, else by a full FFT."""
    if kind == "neighbors":
        return sum(np.roll(field, shift, axis) for axis in (0, 1) for shift in (1, -1)) / 4
    lattice = Lattice(field.shape)
    filter = np.ones(lattice.shape) if kind is None else kind**2 / (lattice.momentum_squared + kind**2)
    return np.fft.ifftn(filter * np.fft.fftn(field)).real


@pytest.mark.parametrize("family", FAMILIES)
def test_family_is_odd_begins_as_the_field_and_knows_its_slope(family):
    u = jnp.asarray(np.linspace(-4.0, 4.0, 41))
    value, slope = FAMILIES[family](u)
    np.testing.assert_allclose(value, FORMULAS[family][0](u), atol=1e-15)
    np.testing.assert_allclose(slope, FORMULAS[family][1](u), atol=1e-14)
    np.testing.assert_allclose(slope, jax.vmap(jax.grad(lambda u: FAMILIES[family](u)[0]))(u), atol=1e-14)
    np.testing.assert_allclose(value, -value[::-1], atol=1e-15)
    small, slope_there = FAMILIES[family](jnp.asarray(1e-4))
    assert abs(float(small) - 1e-4) < 1e-12
    assert abs(float(slope_there) - 1) < 2e-8


@pytest.mark.parametrize("method", ["fft", "matrix"])
@pytest.mark.parametrize(("family", "linear"), [("tanh", True), ("sine", False)])
def test_features_are_those_of_the_smeared_field(method, family, linear):
    """h(w A phi) / w and h'(w A phi), A phi by a full FFT; phi itself comes first."""
    lattice = Lattice((3, 4))
    features, h = Features(family, *SETTINGS, linear), FORMULAS[family]
    field = np.random.default_rng(1).normal(size=lattice.shape)
    values, slopes = features(Modes(lattice, method), jnp.asarray(field))
    expected = [(field, np.ones_like(field))] * linear
    for mass, widths in SCALES:
        smeared = smear(field, mass)
        expected += [(h[0](width * smeared) / width, h[1](width * smeared)) for width in widths]
    assert features.number == len(expected) == 6 + linear
    np.testing.assert_allclose(values, [value for value, _ in expected], atol=1e-14)
    np.testing.assert_allclose(slopes, [slope for _, slope in expected], atol=1e-14)


def test_filters_are_the_operators_that_the_features_apply():
    """With h linear at the origin the features of a tiny field are the filters' products with it."""
    lattice = Lattice((3, 4))
    features = Features("tanh", *SETTINGS)
    tiny = 1e-6 * np.random.default_rng(2).normal(size=lattice.shape)
    values, _ = features(Modes(lattice), jnp.asarray(tiny))
    products = np.fft.ifftn(features.filters(lattice)[:, lattice.orbits] * np.fft.fftn(tiny), axes=(1, 2)).real
    np.testing.assert_allclose(1e6 * np.asarray(values), 1e6 * products, atol=1e-10)


def test_a_mass_without_widths_adds_nothing():
    lattice, field = Lattice((5,)), jnp.arange(5.0)
    plain, with_empty = (
        Features("tanh", (), (), (Smeared(0.5, (1.0,)),)),
        Features(
            "tanh",
            (),
            (),
            (
                Smeared(3.0, ()),
                Smeared(0.5, (1.0,)),
            ),
        ),
    )
    assert plain.number == with_empty.number == 2
    for one, other in zip(plain(Modes(lattice), field), with_empty(Modes(lattice), field), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-15)


def test_features_are_static():
    """Two of the same settings are one to the compiler, however their numbers were written."""
    smeared = [Smeared(0.7, [1.5]), Smeared(2.0, [0.3, 1.1])]
    assert Features("tanh", *SETTINGS) == Features("tanh", [0.5, 2.0], [0.8], smeared)
    assert len({Features("tanh", *SETTINGS), Features("tanh", *SETTINGS), Features("sine", *SETTINGS)}) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Features("relu"), "family: 'relu' is unknown; known here: tanh, algebraic, sine"),
        (lambda: Features(widths=[1.0, 0.0]), "widths: must be greater than 0, got 0.0"),
        (lambda: Features(neighbors=[math.inf]), "neighbors: must be a finite number, got inf"),
        (lambda: Smeared(-0.5, [1.0]), "mass: must be greater than 0, got -0.5"),
        (lambda: Smeared(math.nan, [1.0]), "mass: must be a finite number, got nan"),
        (lambda: Smeared(1.0, [-1.0]), "widths: must be greater than 0, got -1.0"),
        (
            lambda: Features("tanh", [], [], [Smeared(1.0, [])], linear=False),
            "widths: at least one feature is needed; give widths, or linear: true",
        ),
    ],
)
def test_mistakes_are_told_in_one_sentence(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == message
