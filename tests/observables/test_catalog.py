import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap.actions import Phi4
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.observables import CATALOG, FunctionOfMeans, measure
from trivmap.observables.observable import FitToCorrelator
from trivmap.observables.scalar_field import SCALAR_FIELD

ACTION = Phi4(dimension=2, c1=-0.5, c2=0.3, c4=0.4)
LATTICE = Lattice((4, 4))
NOISE = np.random.default_rng(3).normal(size=(400, 4, 4))
FIELDS = np.fft.ifftn(np.fft.fftn(NOISE, axes=(1, 2)) / np.sqrt(LATTICE.momentum_squared + 0.5), axes=(1, 2)).real
"""Configurations of a free field."""


def means(fields, action=ACTION):
    measured = jax.jit(jax.vmap(lambda field: measure(action, field)))(jnp.asarray(fields))
    values = CATALOG.primaries({name: np.asarray(entries) for name, entries in measured.items()})
    return {name: entries.mean(axis=0) for name, entries in values.items()}


def value(name, averages):
    each = CATALOG[name]
    if isinstance(each, FunctionOfMeans):
        return each.function(averages, LATTICE)
    if isinstance(each, FitToCorrelator):
        return each.fit(averages["correlator"], np.diag(1e-4 * averages["correlator"] ** 2), LATTICE, 1)[0]
    return averages[name]


@pytest.mark.parametrize("name", [each.name for each in SCALAR_FIELD])
def test_every_observable_scales_with_its_power(name):
    # The same configurations in a notation with phi = 2 phi' have half the field and the same action.
    half = Phi4(dimension=2, c1=4 * ACTION.c1, c2=4 * ACTION.c2, c4=16 * ACTION.c4)
    here, there = value(name, means(FIELDS)), value(name, means(FIELDS / 2, half))
    assert np.all(np.isfinite(np.ravel(here)[getattr(CATALOG[name], "first", 0) :]))
    np.testing.assert_allclose(here, 2 ** CATALOG[name].power * np.asarray(there), rtol=1e-5)


@pytest.mark.parametrize("name", [each.name for each in SCALAR_FIELD if each.zero_under == "z2"])
def test_what_z2_makes_zero_changes_its_sign(name):
    assert value(name, means(-FIELDS)) == pytest.approx(-value(name, means(FIELDS)))


def test_odd_observables_are_those_of_the_symmetry():
    assert CATALOG.odd_under("z2") == ("magnetization", "magnetization_vector")
    assert CATALOG.odd_under("translations") == ()


def test_unknown_names_come_last_in_their_order():
    assert CATALOG.ordered(["mine", "phi2", "his", "susceptibility"]) == ["susceptibility", "phi2", "mine", "his"]


def test_a_measurement_of_which_only_functions_are_known_gives_way_to_them():
    found = CATALOG.primaries({"exp_minus_delta_h": np.array([1.0, 0.5]), "mine": np.array([1, 2])})
    assert list(found) == ["mine", "delta_h_symmetry"]
    assert found["mine"].dtype == np.float64 and found["delta_h_symmetry"][0] == 1.0


def test_the_magnetization_brings_its_powers():
    found = CATALOG.primaries({"magnetization": np.array([-2.0])})
    assert {name: float(entry[0]) for name, entry in found.items()} == {
        "magnetization": -2.0, "abs_magnetization": 2.0, "magnetization_squared": 4.0, "magnetization_fourth": 16.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "stored", "expected"),
    [("susceptibility", "magnetization", 9.0), ("abs_magnetization", "magnetization", 3.0), ("phi2", "phi2", -3.0)],
)
def test_series_of_means_and_of_functions_of_one_mean(name, stored, expected):
    found, function = CATALOG.series_of(name)
    assert found == stored and function(np.array([-3.0]))[0] == expected


def test_a_measurement_that_the_catalog_does_not_know_is_its_own_series():
    found, function = CATALOG.series_of("mine")
    assert found == "mine" and function(np.array([2.0]))[0] == 2.0


@pytest.mark.parametrize("name", ["binder", "correlation_length", "correlator", "correlation_length_cosh_fit", "log_z"])
def test_functions_of_several_means_have_no_series(name):
    assert not CATALOG.has_series(name)
    with pytest.raises(InputError, match=f"{name}: is not a mean over configurations"):
        CATALOG.series_of(name)


@pytest.mark.parametrize("name", CATALOG.headlines)
def test_headlines_have_all_their_names(name):
    assert CATALOG[name].symbol and CATALOG[name].short and CATALOG[name].tex
