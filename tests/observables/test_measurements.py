"""Measurements against sums written out site by site."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.oracles import FreeFieldOracle
from trivmap.actions import FreeScalar, Phi4
from trivmap.lattice import Lattice
from trivmap.observables import measure

SHAPES = [(2,), (5,), (2, 2), (4, 6), (5, 5), (3, 4, 4), (2, 3, 2, 4)]


def sites(shape):
    return list(itertools.product(*map(range, shape)))


def shifted(site, by, shape):
    return tuple((a + b) % extent for a, b, extent in zip(site, by, shape, strict=True))


def brute_force(field, c1, c2, c4):
    shape, volume = field.shape, field.size
    units = np.eye(field.ndim, dtype=int)
    links = [(x, shifted(x, unit, shape)) for x in sites(shape) for unit in units]
    neighbors = {x: [shifted(x, s * u, shape) for u in units for s in (1, -1)] for x in sites(shape)}
    slopes = {
        x: c1 * sum(field[y] for y in neighbors[x]) + 2 * c2 * field[x] + 4 * c4 * field[x] ** 3 for x in neighbors
    }
    everywhere = np.zeros(shape)
    for x in sites(shape):
        everywhere[x] = sum(field[y] * field[shifted(y, x, shape)] for y in sites(shape)) / volume
    lattice = Lattice(shape)
    two_point = [everywhere[lattice.orbits == orbit].mean() for orbit in range(len(lattice.orbit_sizes))]

    extent = max(shape)
    longest = [axis for axis in range(field.ndim) if shape[axis] == extent]
    walls = [np.moveaxis(field, axis, 0).reshape(extent, -1).sum(axis=1) / np.sqrt(volume / extent) for axis in longest]
    correlator = [
        np.mean([wall[t0] * wall[(t0 + t) % extent] for wall in walls for t0 in range(extent)])
        for t in range(extent // 2 + 1)
    ]
    modes = [sum(field[x] * np.exp(-2j * np.pi * x[axis] / extent) for x in sites(shape)) for axis in longest]
    return {
        "magnetization": field.mean(),
        "phi2": np.mean(field**2),
        "phi4": np.mean(field**4),
        "ising_energy": sum(field[x] * field[y] for x, y in links) / len(links),
        "action_density": (c1 * sum(field[x] * field[y] for x, y in links) + np.sum(c2 * field**2 + c4 * field**4))
        / volume,
        "schwinger_dyson": sum(field[x] * slopes[x] for x in sites(shape)) / volume,
        "momentum_two_point": [volume * field.mean() ** 2, np.mean(np.abs(modes) ** 2) / volume],
        "correlator": correlator,
        "two_point": two_point,
    }


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_measurement_is_its_sum_over_sites(shape):
    c1, c2, c4 = -0.7, 0.3, 0.5
    field = jax.random.normal(jax.random.key(len(shape)), shape, jnp.float64) + 0.2
    measured = jax.jit(partial(measure, Phi4(c1, c2, c4, len(shape))))(field)
    expected = brute_force(np.asarray(field), c1, c2, c4)
    assert measured.keys() == expected.keys()
    for name, value in expected.items():
        assert measured[name].shape == np.shape(value)
        assert measured[name].dtype == (jnp.float32 if name == "two_point" else jnp.float64)
        tolerance = 1e-6 if name == "two_point" else 1e-13
        np.testing.assert_allclose(measured[name], value, rtol=tolerance, atol=tolerance, err_msg=name)


def test_correlator_sums_to_the_susceptibility_and_transforms_to_the_lowest_momentum():
    field = jax.random.normal(jax.random.key(3), (7, 4, 7), jnp.float64)
    measured = jax.jit(partial(measure, FreeScalar(0.5, 3)))(field)
    c = np.asarray(measured["correlator"])
    full = np.concatenate([c, c[:0:-1]])
    np.testing.assert_allclose(full.sum(), field.size * measured["magnetization"] ** 2, rtol=1e-13)
    cosines = np.cos(2 * np.pi * np.arange(7) / 7)
    np.testing.assert_allclose([full.sum(), full @ cosines], measured["momentum_two_point"], rtol=1e-13)


def test_batch_and_single_precision_agree_with_one_configuration():
    action = Phi4.from_couplings("bosetti2015", 2, beta=0.576, lam=0.5)
    fields = jax.random.normal(jax.random.key(1), (5, 8, 8), jnp.float64)
    batched, single = jax.jit(jax.vmap(partial(measure, action))), jax.jit(partial(measure, action))
    wide, narrow, alone = batched(fields), batched(fields.astype(jnp.float32)), single(fields[3])
    for name in wide:
        np.testing.assert_allclose(wide[name][3], alone[name], rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(narrow[name], wide[name], rtol=2e-5, atol=2e-6, err_msg=name)
    # Sums over sites are taken in float64 even of float32 fields.
    assert narrow["magnetization"].dtype == narrow["momentum_two_point"].dtype == jnp.float64


@pytest.mark.parametrize("shape", [(8,), (4, 6), (3, 4, 2)], ids=str)
def test_free_field_has_its_propagator_and_energy(shape):
    m_sq, count = 0.4, 20000
    oracle = FreeFieldOracle(shape, -1.0, len(shape) + m_sq / 2)
    fields = oracle.sample(np.random.default_rng(2), count)
    measured = jax.jit(jax.vmap(partial(measure, FreeScalar(m_sq, len(shape)))))(jnp.asarray(fields))
    lattice, propagator = Lattice(shape), oracle.propagator
    longest = int(np.argmax(shape))
    neighbors = [propagator[tuple(np.eye(len(shape), dtype=int)[mu])] for mu in range(len(shape))]
    expected = {
        "phi2": propagator.ravel()[0],
        "phi4": 3 * propagator.ravel()[0] ** 2,
        "ising_energy": np.mean(neighbors),
        "action_density": 0.5,
        "schwinger_dyson": 1.0,
        "correlator": oracle.correlator(longest)[: shape[longest] // 2 + 1],
        "two_point": [propagator[lattice.orbits == orbit].mean() for orbit in range(len(lattice.orbit_sizes))],
        "momentum_two_point": [1 / m_sq, 1 / (m_sq + 4 * np.sin(np.pi / shape[longest]) ** 2)],
    }
    for name, exact in expected.items():
        values = np.asarray(measured[name], np.float64)
        error = values.std(axis=0) / np.sqrt(count)
        assert np.max(np.abs(values.mean(axis=0) - exact) / error) < 4, name
