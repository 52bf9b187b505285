"""Both objectives estimate the gradient of one and the same divergence; only their noise differs."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from trivmap import Flow, Lattice
from trivmap.actions import AbstractAction, FreeScalar, Phi4
from trivmap.bases import FreeField, Gaussian
from trivmap.bijections import (
    AbstractBijection,
    Additive,
    Affine,
    Chain,
    ConvolutionalNetwork,
    DenseNetwork,
    FourierDiagonal,
    Rescale,
    Spline,
    ZeroMode,
    coupling_stack,
)
from trivmap.objectives import Draws, PathGradient, ReverseKL

RING = Lattice((4,))
PHI4 = Phi4.from_couplings("bosetti2015", 1, beta=0.9, lam=0.5)
SAMPLES = 1 << 14


def stack(lattice, transformer, count=1, *, kernel=None, z2=False, hidden=()) -> list[AbstractBijection]:
    key = jax.random.key(7)
    network = DenseNetwork(hidden) if kernel is None else ConvolutionalNetwork(hidden, kernel=kernel)
    return list(coupling_stack(lattice, transformer, count, network, z2=z2, dtype=jnp.float64, key=key).maps)


class Case(NamedTuple):
    base: Callable[..., object]
    maps: Callable[[Lattice], list[AbstractBijection]]
    action: AbstractAction = PHI4
    lattice: Lattice = RING
    temperature: float = 1.0


def narrow(lattice):
    return Gaussian(lattice, dtype=jnp.float64)


def free(learnable):
    return lambda lattice: FreeField(lattice, mass=1.5, learnable=learnable, dtype=jnp.float64)


CASES = {
    "spectra": Case(
        free(learnable=True),
        lambda lattice: [FourierDiagonal(lattice, dtype=jnp.float64), Rescale(lattice, dtype=jnp.float64)],
        temperature=1.7,
    ),
    "affine-dense": Case(narrow, lambda lattice: stack(lattice, Affine(), 2, hidden=(3,)), temperature=0.6),
    "spline": Case(free(learnable=False), lambda lattice: stack(lattice, Spline(3, 2.0)), temperature=2.5),
    "additive-zero-mode": Case(
        narrow,
        lambda lattice: [
            *stack(lattice, Additive(), z2=True, hidden=(2,)),
            ZeroMode(lattice, bins=4, interval=2.0, z2=False, dtype=jnp.float64),
        ],
    ),
}


@cache
def randomized(name: str, scale: float = 0.2) -> Flow:
    base, maps, _, lattice, _ = CASES[name]
    parameters, static = eqx.partition(Flow(base(lattice), Chain(lattice, maps(lattice))), eqx.is_inexact_array)
    rng = np.random.default_rng(3)
    moved = jax.tree.map(lambda leaf: np.asarray(leaf) + scale * rng.normal(size=leaf.shape), parameters)
    return eqx.combine(jax.tree.map(jnp.asarray, moved), static)


def gradients(flow, action, objective, temperature, samples=SAMPLES):
    """The gradient of every sample on its own, shape (samples, parameters), and the residuals."""
    parameters, static = eqx.partition(flow, eqx.is_inexact_array)
    noise = jnp.asarray(np.random.default_rng(11).normal(size=(samples, *flow.lattice.shape)))

    @jax.jit
    @jax.vmap
    def each(z):
        def value(parameters):
            return objective(eqx.combine(parameters, static), action, Draws(noise=z[None]), jnp.float32(temperature))

        gradient, residuals = jax.grad(value, has_aux=True)(parameters)
        return jax.tree.leaves(gradient), residuals[0]

    gradient, residuals = each(noise)
    return flat(gradient, samples), np.asarray(residuals)


def flat(leaves, samples) -> np.ndarray:
    return np.concatenate([np.reshape(leaf, (samples, -1)) for leaf in leaves], axis=1)


@cache
def both(name: str):
    _, _, action, _, temperature = CASES[name]
    flow = randomized(name)
    return tuple(gradients(flow, action, objective, temperature) for objective in (PathGradient(), ReverseKL()))


@pytest.mark.parametrize("name", CASES)
def test_the_path_gradient_is_unbiased(name):
    """The difference of the two, sample by sample, is the explicit derivative of log q, whose mean is zero."""
    (path, _), (plain, _) = both(name)
    difference = plain - path
    mean, covariance = difference.mean(axis=0), np.cov(difference.T)
    variances, directions = np.linalg.eigh(covariance)
    seen = variances > 1e-8 * variances.max()  # parameters that are redundant here have none
    assert seen.sum() >= len(mean) // 2
    statistic = np.sum((directions[:, seen].T @ mean) ** 2 / (variances[seen] / SAMPLES))
    assert chi2.sf(statistic, seen.sum()) > 1e-3
    # The comparison means something: the mean gradient itself is far from zero within the same errors.
    assert np.max(np.abs(path.mean(axis=0)) / (difference.std(axis=0) / np.sqrt(SAMPLES) + 1e-12)) > 10


@pytest.mark.parametrize("name", CASES)
def test_both_report_the_same_residuals(name):
    (_, path), (_, plain) = both(name)
    np.testing.assert_allclose(path, plain, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("objective", [PathGradient(), ReverseKL()])
@pytest.mark.parametrize("temperature", [1.0, 1.9])
def test_gradient_in_closed_form(objective, temperature):
    """Gaussian of width e^a: <log q + S/T> = -V a + e^(2a)/2 sum_k (khat^2 + m^2)/T + constant."""
    action = FreeScalar(0.7, 1)
    flow = Flow(narrow(RING), Chain(RING, []))
    flow = eqx.tree_at(lambda f: f.base.log_width, flow, jnp.asarray(0.3))
    gradient, residuals = gradients(flow, action, objective, temperature)
    spectrum = np.sum(RING.momentum_squared + 0.7) / temperature
    exact = -RING.volume + np.exp(0.6) * spectrum
    assert abs(gradient.mean() - exact) < 3.5 * gradient.std() / np.sqrt(SAMPLES)
    value = -RING.volume * (0.3 + 0.5 * np.log(2 * np.pi * np.e)) + 0.5 * np.exp(0.6) * spectrum
    assert abs(residuals.mean() - value) < 3.5 * residuals.std() / np.sqrt(SAMPLES)


def test_only_the_path_gradient_is_free_of_noise_at_the_optimum():
    """q = p: the free field with its exact spectrum, through maps that are the identity."""
    action = FreeScalar(0.7, 1)
    maps = [
        FourierDiagonal(RING, dtype=jnp.float64),
        *stack(RING, Affine()),
        ZeroMode(RING, bins=4, interval=2.0, dtype=jnp.float64),
        Rescale(RING, dtype=jnp.float64),
    ]
    flow = Flow(FreeField(RING, mass=0.7, dtype=jnp.float64), Chain(RING, maps))
    path, residuals = gradients(flow, action, PathGradient(), 1.0, samples=64)
    plain, _ = gradients(flow, action, ReverseKL(), 1.0, samples=64)
    np.testing.assert_allclose(residuals, -action.log_z(RING), rtol=1e-12)
    assert np.max(np.abs(path)) < 1e-12
    assert np.sum(plain.std(axis=0) > 0.1) >= plain.shape[1] - 2


@pytest.mark.parametrize("objective", [PathGradient(), ReverseKL()])
def test_a_batch_is_the_mean_of_its_samples(objective):
    flow = randomized("spectra")
    each, _ = gradients(flow, PHI4, objective, 1.3, samples=5)
    parameters, static = eqx.partition(flow, eqx.is_inexact_array)
    noise = jnp.asarray(np.random.default_rng(11).normal(size=(5, *RING.shape)))

    @jax.jit
    @jax.grad
    def gradient(parameters):
        return objective(eqx.combine(parameters, static), PHI4, Draws(noise=noise), jnp.float32(1.3))[0]

    whole = flat(jax.tree.leaves(gradient(parameters)), 1)[0]
    np.testing.assert_allclose(whole, each.mean(axis=0), rtol=1e-10, atol=1e-12)
