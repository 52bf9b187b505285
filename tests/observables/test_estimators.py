"""Estimators at the exact means of a free field, and their derivatives."""

import numpy as np
import pytest

from tests.oracles import FreeFieldOracle
from trivmap.lattice import Lattice
from trivmap.observables import CATALOG, FunctionOfMeans, estimators
from trivmap.observables.estimators import delta_h_symmetry, gradient

SHAPES = [(8,), (7,), (2, 2), (6, 4), (4, 8, 8)]
BY_NAME = {name: each for name, each in CATALOG.items() if isinstance(each, FunctionOfMeans)}


def free_means(shape, m_sq):
    """The exact primaries of a free field; m is Gaussian with variance 1 / (V m_sq)."""
    oracle, longest = FreeFieldOracle(shape, -1.0, len(shape) + m_sq / 2), int(np.argmax(shape))
    extent, variance = shape[longest], 1 / (oracle.volume * m_sq)
    return {
        "magnetization_squared": np.array(variance),
        "magnetization_fourth": np.array(3 * variance**2),
        "abs_magnetization": np.sqrt(2 / np.pi * variance),
        "momentum_two_point": np.array([1 / m_sq, 1 / (m_sq + 4 * np.sin(np.pi / extent) ** 2)]),
        "correlator": oracle.correlator(longest)[: extent // 2 + 1],
    }


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_free_field(shape):
    m_sq, lattice = 0.3, Lattice(shape)
    means = free_means(shape, m_sq)
    value = {name: estimator.function(means, lattice) for name, estimator in BY_NAME.items()}
    np.testing.assert_allclose(value["susceptibility"], 1 / m_sq, rtol=1e-12)
    np.testing.assert_allclose(value["connected_susceptibility"], (1 - 2 / np.pi) / m_sq, rtol=1e-12)
    np.testing.assert_allclose(value["binder"], 0.0, atol=1e-12)
    np.testing.assert_allclose(value["correlation_length"], 1 / np.sqrt(m_sq), rtol=1e-12)
    # On the lattice 1/(khat^2 + m^2) has its pole at 2 sinh(E/2) = m, at every t of any extent.
    assert np.isnan(value["effective_mass"][0])
    assert len(value["effective_mass"]) == max(shape) // 2 + 1
    np.testing.assert_allclose(value["effective_mass"][1:], 2 * np.arcsinh(np.sqrt(m_sq) / 2), rtol=1e-9)


def test_second_moment_is_the_low_momentum_length_on_a_long_lattice():
    m_sq, shape = 0.3, (60, 4)
    lattice, means = Lattice(shape), free_means(shape, m_sq)
    length = estimators.correlation_length_second_moment(means, lattice)
    np.testing.assert_allclose(length, 1 / np.sqrt(m_sq), rtol=1e-4)
    short = estimators.correlation_length_second_moment(free_means((6, 4), m_sq), Lattice((6, 4)))
    c = FreeFieldOracle((6, 4), -1.0, 2 + m_sq / 2).correlator(0)
    np.testing.assert_allclose(short**2, np.sum(np.array([0, 1, 4, 9, 4, 1]) * c) / (2 * c.sum()), rtol=1e-12)


@pytest.mark.parametrize("name", BY_NAME)
def test_gradient_is_that_of_finite_differences(name):
    lattice, means = Lattice((8, 8)), free_means((8, 8), 0.3)
    needs = BY_NAME[name].needs
    sizes = np.cumsum([0, *(means[key].size for key in needs)])

    def function(point):
        parts = {k: point[a:b].reshape(means[k].shape) for k, a, b in zip(needs, sizes, sizes[1:], strict=False)}
        return np.asarray(BY_NAME[name].function(parts, lattice))

    point = np.concatenate([means[key].ravel() for key in needs])
    for k, slope in enumerate(np.moveaxis(gradient(function, point), -1, 0)):
        step = np.zeros_like(point)
        step[k] = 1e-6 * abs(point[k])
        expected = (function(point + step) - function(point - step)) / (2 * step[k])
        defined = np.isfinite(expected)
        assert np.sum(~defined) == (name == "effective_mass")
        np.testing.assert_allclose(slope[defined], expected[defined], rtol=1e-7, atol=1e-7)


def test_failures_are_not_numbers():
    lattice = Lattice((8, 8))
    assert np.isnan(estimators.correlation_length({"momentum_two_point": np.array([1.0, 1.1])}, lattice))
    alternating = {"correlator": np.array([1.0, -0.9, 0.5, -0.3, 0.4])}
    assert np.isnan(
        estimators.correlation_length_second_moment(
            {"correlator": -(alternating["correlator"] ** 2) + np.eye(5)[0] * 20}, lattice
        )
    )
    assert np.all(np.isnan(estimators.effective_mass(alternating, lattice)))
    concave = {"correlator": np.array([1.0, 0.9, 0.5, 0.2, 0.1])}
    masses = estimators.effective_mass(concave, lattice)
    np.testing.assert_array_equal(np.isnan(masses), [True, True, False, False, False])
    np.testing.assert_allclose(masses[4], np.arccosh(0.2 / 0.1))


@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0])
def test_symmetry_of_delta_h(spread):
    """dH ~ N(s^2 / 2, s^2) obeys Crooks' relation: the mean is 1; by quadrature. Another mean of dH shows."""
    z = np.linspace(-12, 12, 20_001)
    weight = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    values = delta_h_symmetry(np.exp(-spread * (z + spread / 2)))
    assert values.min() > 0.5 - 1e-9 and values.max() <= 5
    assert weight @ values == pytest.approx(1, abs=1e-12)
    moved = delta_h_symmetry(np.exp(-spread * (z + spread / 2) - 0.1))
    assert abs(weight @ moved - 1) > 1e-3


def test_symmetry_of_delta_h_is_exp_where_that_has_no_tail():
    delta_h = np.array([0.0, 1e-2, -1e-2])
    np.testing.assert_allclose(delta_h_symmetry(np.exp(-delta_h)), np.exp(-delta_h), atol=1e-6)
    np.testing.assert_array_equal(delta_h_symmetry(np.array([0.0, np.inf])), [1, 5])


def test_error_of_the_symmetry_covers_where_that_of_exp_does_not():
    """Means over 1000 trajectories of acceptance 0.32, dH of standard deviation 2."""
    delta_h = 2 + 2 * np.random.default_rng(1).normal(size=(500, 1000))
    pulls = {}
    for name, values in {"exp": np.exp(-delta_h), "symmetry": delta_h_symmetry(np.exp(-delta_h))}.items():
        pulls[name] = (values.mean(axis=1) - 1) / (values.std(axis=1) / 1000**0.5)
    assert abs(pulls["symmetry"].mean()) < 0.15 and 0.9 < pulls["symmetry"].std() < 1.1
    assert pulls["exp"].mean() < -0.4 and pulls["exp"].std() > 1.2
