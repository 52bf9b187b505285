"""Kernels in the space of displacements: what they are, and how their weights go to another lattice."""

import itertools
import math

import numpy as np
import pytest

from tests.symmetries import point_group, transformed
from trivmap import InputError, Lattice
from trivmap.bijections import KernelBasis

SHAPES = [(5,), (4,), (4, 4), (3, 5), (2, 3, 3)]


def functions(kernels, shape):
    """The basis as functions of the displacement, (basis, *shape)."""
    lattice = Lattice(shape)
    spectra = kernels.spectra(lattice)[:, lattice.orbits]
    result = np.fft.ifftn(spectra, axes=tuple(range(1, 1 + len(shape))))
    assert np.max(np.abs(result.imag)) < 1e-14
    return result.real


def distance(shape):
    """max |x_mu| of every displacement on the periodic lattice."""
    return np.max(np.meshgrid(*[np.minimum(np.arange(n), n - np.arange(n)) for n in shape], indexing="ij"), axis=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [0, 1, None])
def test_displacements_are_an_orthonormal_basis_of_the_invariant_functions(shape, radius):
    basis = functions(KernelBasis(radius, ()), shape)
    flat = basis.reshape(len(basis), -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(len(basis)), atol=1e-14)
    for element in point_group(shape):
        np.testing.assert_allclose(transformed(element, basis), basis, atol=1e-14)
    # Complete: the mean over the group of any function within the radius is a sum of them.
    within = distance(shape) <= (max(shape) if radius is None else radius)
    function = np.random.default_rng(1).normal(size=shape) * within
    invariant = np.mean([transformed(element, function) for element in point_group(shape)], axis=0)
    expanded = np.tensordot(np.tensordot(basis, invariant, axes=len(shape)), basis, axes=1)
    np.testing.assert_allclose(expanded, invariant, atol=1e-14)
    assert np.all(np.abs(basis[:, ~within]) < 1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_tails_are_propagators_and_come_first(shape):
    """(m^2 - Laplacian) K = m^2 delta, in the space of displacements; the weights of a tail add up to one."""
    masses = (0.4, 1.7)
    tails = functions(KernelBasis(1, masses), shape)
    assert len(tails) == len(masses) + len(functions(KernelBasis(1, ()), shape))
    for tail, mass in zip(tails, masses, strict=False):
        hops = sum(2 * tail - np.roll(tail, 1, axis) - np.roll(tail, -1, axis) for axis in range(tail.ndim))
        source = mass**2 * (np.arange(tail.size) == 0).reshape(shape)
        np.testing.assert_allclose(mass**2 * tail + hops, source, atol=1e-13)
        assert np.sum(tail) == pytest.approx(1.0, abs=1e-14)
    np.testing.assert_array_equal(tails[2:], functions(KernelBasis(1, ()), shape))


def spread_out(weights, target):
    """A kernel's weights displacement by displacement, L/2 halved between both signs, symmetrized on the target."""
    result = np.zeros(target)
    for x in np.ndindex(weights.shape):
        signed = [
            (n, -n) if 2 * n == extent else (n if 2 * n < extent else n - extent,)
            for n, extent in zip(x, weights.shape, strict=True)
        ]
        images = list(itertools.product(*signed))
        for image in images:
            result[tuple(n % extent for n, extent in zip(image, target, strict=True))] += weights[x] / len(images)
    return np.mean([transformed(element, result) for element in point_group(target)], axis=0)


@pytest.mark.parametrize(
    ("kernels", "source", "target"),
    [
        (KernelBasis(2, ()), (5,), (8,)),
        (KernelBasis(1, (0.5,)), (4, 4), (6, 6)),
        (KernelBasis(None, ()), (4,), (7,)),
        (KernelBasis(None, ()), (4, 4), (8, 8)),
        (KernelBasis(None, ()), (2, 3, 3), (4, 4, 5)),
        (KernelBasis(2, ()), (4, 6), (8, 8)),  # from a smaller point group to a larger one: averaged
        (KernelBasis(None, (0.5, 2.0)), (4, 4), (4, 6)),  # and the other way round
        (KernelBasis(None, ()), (8,), (5,)),  # folded
        (KernelBasis(3, ()), (8, 8), (4, 4)),
        (KernelBasis(None, ()), (6, 6), (4, 8)),  # one axis folded, the other widened
    ],
)
def test_carried_kernel_has_the_same_weight_at_every_displacement(kernels, source, target):
    carry = kernels.carry(Lattice(source), Lattice(target))
    tails = len(kernels.masses)
    np.testing.assert_array_equal(carry[:tails], np.eye(*carry[:tails].shape))
    np.testing.assert_array_equal(carry[tails:, :tails], 0)
    coefficients = np.random.default_rng(2).normal(size=len(carry))
    coefficients[:tails] = 0
    weights = np.tensordot(coefficients, functions(kernels, source), axes=1)
    carried = np.tensordot(coefficients @ carry, functions(kernels, target), axes=1)
    np.testing.assert_allclose(carried, spread_out(weights, target), atol=1e-14)
    assert np.sum(carried) == pytest.approx(np.sum(weights), abs=1e-13)


def test_weights_of_a_small_example():
    """On a ring of four: c_0 at 0, c_1 / sqrt 2 at +-1, c_2 at 2, which on six sites is half at 2 and half at -2."""
    coefficients = np.array([1.0, 2 * math.sqrt(2), 3.0])
    np.testing.assert_allclose(coefficients @ functions(KernelBasis(None, ()), (4,)), [1, 2, 3, 2], atol=1e-14)
    carried = coefficients @ KernelBasis(None, ()).carry(Lattice((4,)), Lattice((6,)))
    np.testing.assert_allclose(carried @ functions(KernelBasis(None, ()), (6,)), [1, 2, 1.5, 0, 1.5, 2], atol=1e-14)
    folded = coefficients @ KernelBasis(None, ()).carry(Lattice((4,)), Lattice((3,)))
    np.testing.assert_allclose(folded @ functions(KernelBasis(None, ()), (3,)), [1, 3.5, 3.5], atol=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kernels", [KernelBasis(1, ()), KernelBasis(None, (0.5, 2.0))], ids=["local", "whole"])
def test_there_and_back_is_the_identity(shape, kernels):
    lattice, larger = Lattice(shape), Lattice(2 * extent for extent in shape)
    size = len(kernels.spectra(lattice))
    np.testing.assert_allclose(kernels.carry(lattice, lattice), np.eye(size), atol=1e-14)
    there_and_back = kernels.carry(lattice, larger) @ kernels.carry(larger, lattice)
    np.testing.assert_allclose(there_and_back, np.eye(size), atol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1,), "radius: must be at least 0, got -1"),
        ((2, [1.0, 0.0]), "masses: must be greater than 0, got 0.0"),
        ((None, [math.nan]), "masses: must be a finite number, got nan"),
        ((None, [math.inf]), "masses: must be a finite number, got inf"),
    ],
)
def test_mistakes_are_told_in_one_sentence(arguments, message):
    with pytest.raises(InputError) as caught:
        KernelBasis(*arguments)
    assert str(caught.value) == message
