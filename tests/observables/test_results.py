"""Results as pyerrors objects, as JSON, as an xarray dataset and as the table of summary.json."""

import json
import re

import numpy as np
import pytest
from pyerrors.input.json import load_json_dict

from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.observables import ArrayHistory, Results, analyze

SHAPE, STEPS = (4, 6), 3000


@pytest.fixture(scope="module")
def results():
    """Of an invented history in which m(3) of the correlator and the correlation length cannot be trusted."""
    rng = np.random.default_rng(0)
    observables = {
        "magnetization": rng.normal(size=(2, STEPS)),
        "phi2": 1 + 0.1 * rng.normal(size=(2, STEPS)),
        "momentum_two_point": np.array([1.0, 1.5]) + 0.1 * rng.normal(size=(2, STEPS, 2)),
        "correlator": np.array([1.0, 0.4, 0.17, 0.18]) + 1e-4 * rng.normal(size=(2, STEPS, 4)),
        "two_point": rng.normal(size=(2, STEPS, len(Lattice(SHAPE).orbit_sizes))).astype(np.float32),
    }
    accepted = rng.random((2, STEPS)) < 0.7
    accepted[:, 0] = True
    return analyze(
        ArrayHistory(observables, lattice=SHAPE, accepted=accepted, log_weight=0.2 * rng.normal(size=(2, STEPS)))
    )


def assert_same(first, second):
    assert list(first) == list(second)
    assert first.untrusted == second.untrusted
    assert first.tau_int.keys() == second.tau_int.keys()
    for name in first:
        np.testing.assert_allclose(first.value(name), second.value(name), rtol=1e-12)
        np.testing.assert_allclose(first.error(name), second.error(name), rtol=1e-7)
        assert np.shape(first[name]) == np.shape(second[name])
    for name in first.tau_int:
        np.testing.assert_array_equal(first.tau_int[name], second.tau_int[name])


def test_json_round_trip(results):
    read = Results.from_text(results.to_text(), "observables.json")
    assert_same(results.chain, read.chain)
    assert_same(results.reweighted, read.reweighted)
    assert read.info == results.info
    for name in results.difference:
        np.testing.assert_allclose(results.difference.error(name), read.difference.error(name), rtol=1e-6)
    assert Results.from_text(read.to_text(), "observables.json").untrusted == results.untrusted


def test_json_is_that_of_pyerrors(results, tmp_path):
    path = tmp_path / "observables.json"
    path.write_text(results.to_text(), encoding="utf-8")
    phi2 = load_json_dict(str(path), verbose=False, gz=False)["chain"]["phi2"]
    phi2.gamma_method()
    assert phi2.value == pytest.approx(results["phi2"].value, rel=1e-12)
    # pyerrors takes deviations from the mean of each chain, and leaves out their scatter.
    assert phi2.dvalue == pytest.approx(results["phi2"].dvalue, rel=0.05)


def test_json_without_any_trusted_number():
    untrusted = analyze(
        ArrayHistory({"phi2": np.where(np.arange(100) == 7, np.nan, np.random.default_rng(0).normal(size=(2, 100)))})
    )
    read = Results.from_text(untrusted.to_text(), "observables.json")
    assert not list(read)
    assert read.untrusted == untrusted.untrusted == {"phi2": "it is not a number"}
    assert read.reweighted is None


@pytest.mark.parametrize("spoil", [lambda text: text[: len(text) // 2], lambda text: "{}", lambda text: "[1, 2]"])
def test_spoilt_json_is_refused(results, spoil):
    with pytest.raises(InputError, match=r"observables.json: not a complete observables file"):
        Results.from_text(spoil(results.to_text()), "observables.json")


def test_withholding_copies(results):
    for taken in (results.without(["phi2"], "no"), results.withheld("no")):
        assert "phi2" not in taken and "phi2" not in taken.reweighted
        assert taken.untrusted["phi2"] == taken.reweighted.untrusted["phi2"] == "no"
    assert "phi2" in results and "phi2" in results.reweighted
    assert "binder" in results.without(["phi2"], "no")


def test_summary_holds_trusted_scalars_only(results):
    summary = results.summary()
    assert list(summary)[:3] == ["susceptibility", "connected_susceptibility", "abs_magnetization"]
    assert {"phi2", "binder"} < summary.keys()
    assert not summary.keys() & {"correlator", "two_point", "correlation_length", "correlation_length_arccosh"}
    for name, entry in summary.items():
        assert entry == {
            "value": results[name].value,
            "error": results[name].dvalue,
            "tau_int": results.tau_int[name],
            "tau_int_error": pytest.approx(2 * results.tau_int[name] * results[name].ddvalue / results[name].dvalue),
            "source": "chain",
        }
    assert json.loads(json.dumps(summary)) == summary


def test_difference_is_that_of_the_objects(results):
    gap = results["susceptibility"] - results.reweighted["susceptibility"]
    gap.gamma_method()
    assert results.difference["susceptibility"].dvalue == pytest.approx(gap.dvalue)
    assert results.difference.error("correlator").shape == (4,)
    assert np.all(results.difference.error("correlator") < 1.5 * results.chain.error("correlator"))


def test_xarray_has_every_observable(results):
    dataset = results.to_xarray()
    assert dict(dataset.sizes) == {"source": 3, "quantity": 4, "t": 4, "orbit": 12, "axis": 2, "momentum": 2}
    value = dataset["susceptibility"].sel(source="chain", quantity="value").item()
    assert value == results["susceptibility"].value
    np.testing.assert_array_equal(
        dataset["correlator"].sel(source="reweighted", quantity="error"), results.reweighted.error("correlator")
    )
    np.testing.assert_array_equal(
        dataset["two_point"].sel(source="chain", quantity="tau_int"), results.tau_int["two_point"]
    )
    assert np.all(np.isnan(dataset["two_point"].sel(source="difference", quantity="tau_int")))
    masses = dataset["effective_mass"].sel(source="chain", quantity="value")
    np.testing.assert_array_equal(np.isnan(masses), [True, False, False, True])
    assert np.all(np.isnan(dataset["correlation_length"]))
    np.testing.assert_array_equal(dataset["displacement"], Lattice(SHAPE).orbit_representatives)
    np.testing.assert_allclose(dataset["distance"][-1], np.hypot(2, 3))


def test_printed_results_have_a_line_for_each_scalar():
    rng = np.random.default_rng(0)
    history = ArrayHistory({"phi2": 1 + 0.1 * rng.normal(size=(4, 2000)), "mine": np.ones((4, 2000))}, lattice=None)
    text = repr(analyze(history))
    assert re.search(r"^phi2  (0\.99|1\.00)\d*\(\d\d\)  0\.\d+\(\d\d\)$", text, flags=re.MULTILINE)
    assert "mine: it has not changed" in text
