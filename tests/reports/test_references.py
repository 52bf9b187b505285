import json
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap.actions import FreeScalar, Phi4
from trivmap.lattice import Lattice
from trivmap.observables.estimators import correlation_length, effective_mass
from trivmap.reports import find_reference

L8 = {"kind": "phi4", "notation": "bosetti2015", "beta": 0.576, "lam": 0.5}
POINTS = json.loads(resources.files("trivmap.reports").joinpath("reference/phi4_2d.json").read_text())["points"]


@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"L{point['lattice'][0]}")
def test_every_point_is_found_as_written(point):
    action = {"kind": "phi4", "notation": point["notation"], "beta": point["beta"], "lam": point["lam"]}
    found = find_reference(action, point["lattice"])
    assert {name: {"value": e.value, "error": e.error} for name, e in found.observables.items()} == point["observables"]


def test_values_are_carried_to_another_notation():
    # -beta phi_B^2 = -2 phi_A^2 and 1/2 phi_B^4 = lam_A phi_A^4.
    square = 0.576 / 2
    action = {"kind": "phi4", "notation": "albergo2019", "m_sq": -4.0, "lam": 0.5 / square**2}
    original, found = find_reference(L8, [8, 8]).observables, find_reference(action, [8, 8]).observables
    factors = {
        "susceptibility": square, "connected_susceptibility": square, "phi2": square, "ising_energy": square,
        "abs_magnetization": square**0.5, "binder": 1, "correlation_length": 1, "action_density": 1,
        "phi4": square**2,
    }  # fmt: skip
    assert found.keys() == factors.keys()
    for name, factor in factors.items():
        assert found[name].value == pytest.approx(factor * original[name].value, rel=1e-12)
        assert found[name].error == pytest.approx(factor * original[name].error, rel=1e-12)


@pytest.mark.parametrize(
    ("action", "lattice"),
    [
        (L8 | {"beta": 0.5761}, [8, 8]),
        (L8 | {"lam": 0.501}, [8, 8]),
        (L8, [8, 10]),
        (L8, [8]),
        ({"kind": "my_module:MyAction", "beta": 0.576, "lam": 0.5}, [8, 8]),
    ],
)
def test_no_reference_for_another_point(action, lattice):
    assert find_reference(action, lattice) is None


@pytest.mark.parametrize("shape", [(4,), (5,), (4, 4), (4, 6), (2, 3, 4)])
@pytest.mark.parametrize("kind", ["free", "phi4"])
def test_free_field_from_the_inverse_of_its_matrix(shape, kind):
    lattice = Lattice(shape)
    volume, dimension = lattice.volume, lattice.dimension
    if kind == "free":
        written, action = {"kind": "free", "m_sq": 0.3}, FreeScalar(0.3, dimension)
    else:
        written = {"kind": "phi4", "notation": "nicoli2020", "kappa": 0.12, "lam": 0.0}
        action = Phi4.from_couplings("nicoli2020", dimension, kappa=0.12, lam=0.0)
    matrix = np.asarray(jax.hessian(action)(jnp.zeros(shape))).reshape(volume, volume)
    covariance = np.linalg.inv(matrix).reshape(*shape, *shape)
    origin = covariance[(0,) * dimension]
    zero = origin.sum()
    links = np.mean([origin[tuple(int(axis == mu) for axis in range(dimension))] for mu in range(dimension)])
    expected = {
        "susceptibility": zero,
        "phi2": origin.flat[0],
        "phi4": 3 * origin.flat[0] ** 2,
        "ising_energy": links,
        "action_density": 0.5,
        "binder": 0.0,
        "schwinger_dyson": 1.0,
        "log_z": 0.5 * (volume * np.log(2 * np.pi) - np.linalg.slogdet(matrix)[1]),
    }
    walls = np.moveaxis(origin, int(np.argmax(shape)), 0).reshape(max(shape), -1).sum(axis=1)
    means = {
        "momentum_two_point": np.fft.fft(walls).real[:2],
        "correlator": walls[: max(shape) // 2 + 1],
    }
    expected["correlation_length"] = float(correlation_length(means, lattice))
    expected["correlation_length_cosh_fit"] = 1 / float(effective_mass(means, lattice)[1])
    expected["correlation_length_arccosh"] = expected["correlation_length_cosh_fit"]
    found = find_reference(written, shape).observables
    half_normal = np.sqrt(2 * zero / (np.pi * volume))
    expected |= {"abs_magnetization": half_normal, "connected_susceptibility": zero - volume * half_normal**2}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, rel=1e-10, abs=1e-12), name
        assert found[name].error == 0
