import io
import math

import pytest
from rich.console import Console

from trivmap.estimate import Estimate
from trivmap.reports import Reference, result_rows, results_table
from trivmap.reports.checks import tiles
from trivmap.reports.trust import reason_against

SUMMARY = {
    "observables": {
        "susceptibility": {"value": 6.52, "error": 0.011, "tau_int": 0.8},
        "binder": {"value": 0.21, "error": 0.002, "tau_int": 0.75},
        "own_observable": {"value": 2.0, "error": 0.5, "tau_int": None},
        "schwinger_dyson": {"value": 1.003, "error": 0.001, "tau_int": 0.6},
        "phi2": {"value": None, "error": None, "tau_int": None},
    },
    "sampling": {
        "acceptance": {"value": 0.71234, "error": 0.0031}, "ess": 0.81, "tau_int": {"value": 1.1, "error": 0.05},
        "proposals": 100000,
    },
    "log_z": {"value": 17.2, "error": 0.01},
    "untrusted": {"binder": "a chain stood still", "correlation_length": "no correlation at all", "two_point[3]": "x"},
}  # fmt: skip
REFERENCE = Reference("a simulation", {"susceptibility": Estimate(6.5, 0.009), "binder": Estimate(0.2, 0.01)})


def rows(**keywords):
    return {row.name: row for row in result_rows(SUMMARY, **keywords)}


def test_rows_are_in_the_order_of_tables():
    assert list(rows()) == [
        "susceptibility", "phi2", "binder", "correlation_length", "schwinger_dyson", "own_observable", "log_z",
    ]  # fmt: skip


def test_row_holds_value_reference_pull_and_difference():
    found = rows(
        reference=REFERENCE,
        reweighted={"susceptibility": Estimate(6.51, 0.01)},
        differences={"susceptibility": Estimate(0.01, 0.004)},
    )["susceptibility"]
    assert found.pull == pytest.approx(0.02 / math.hypot(0.011, 0.009))
    assert found.difference_pull == pytest.approx(2.5)
    assert found.cells() == {
        "observable": "susceptibility", "definition": "χ = V⟨m²⟩", "value": "6.520(11)", "τ_int": "0.8",
        "reweighted": "6.510(10)", "chain − reweighted [σ]": "+2.5", "reference": "6.5000(90)", "pull [σ]": "+1.4",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("binder", "a chain stood still"),
        ("correlation_length", "no correlation at all"),
        ("phi2", "the value is not finite"),
    ],
)
def test_untrusted_numbers_are_withheld(name, reason):
    found = rows(reference=REFERENCE, reweighted={name: Estimate(0.123, 0.01)}, differences={name: Estimate(0.1, 0.2)})[
        name
    ]
    assert found.estimate is None
    assert found.pull is None
    cells = found.cells()
    assert cells["value"] == f"not trusted: {reason}"
    printed = {key for key, text in cells.items() if text} - {"observable", "definition", "value", "reference"}
    assert not printed


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"value": 1.0, "error": 0.1}, None),
        (0.5, None),
        (None, "not measured"),
        ({"value": math.nan, "error": 0.1}, "the value is not finite"),
        ({"value": 1.0, "error": None}, "the error could not be determined"),
        ({"value": 1.0, "error": math.inf}, "the error could not be determined"),
        (math.inf, "the value is not finite"),
    ],
)
def test_distrust(entry, reason):
    assert reason_against("phi2", entry, {"untrusted": {"binder": "x"}}) == reason


def test_terminal_table_shows_the_same_cells():
    table = results_table(list(rows(reference=REFERENCE).values()), title="L=8")
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table)
    text = console.export_text()
    assert "L=8" in text
    assert "6.520(11)" in text
    assert "+1.4" in text
    assert "17.200(10)" in text
    assert "not trusted: a chain stood still" in text
    assert "0.21" not in text


def test_tiles_judge_the_checks():
    found = {tile.name: tile for tile in tiles(SUMMARY, list(rows(reference=REFERENCE).values()))}
    schwinger_dyson = found["Schwinger–Dyson, ⟨φ ∂S/∂φ⟩"]
    assert (schwinger_dyson.value, schwinger_dyson.note) == ("1.0030(10)", "3.0 σ from 1: agrees")
    assert found["chain − reference, worst"].note == "susceptibility, of 1: agrees"
    assert found["acceptance"].value == "0.7123(31)"
    assert found["ESS per proposal"].value == "0.81"
    assert found["τ_int"].value == "1.100(50)"
    assert found["log Z"].value == "17.200(10)"
    assert "chain − reweighted, worst" not in found


@pytest.mark.parametrize(
    ("value", "state"), [(1.0029, "good"), (0.9969, "warn"), (1.0035, "warn"), (1.0041, "bad"), (0.99, "bad")]
)
def test_schwinger_dyson_is_judged_by_its_distance_from_one(value, state):
    summary = {"observables": {"schwinger_dyson": {"value": value, "error": 0.001, "tau_int": 0.5}}}
    (tile,) = tiles(summary, result_rows(summary))
    assert tile.state == state


def test_untrusted_tile_shows_no_number():
    summary = {"log_z": {"value": 17.2, "error": 0.01}, "untrusted": {"log_z": "few effective samples"}}
    (tile,) = tiles(summary, result_rows(summary))
    assert (tile.value, tile.note, tile.state) == ("not trusted", "few effective samples", "bad")


def test_tiles_of_markov_chains():
    summary = {
        "observables": {
            "delta_h_symmetry": {"value": 0.99, "error": 0.002, "tau_int": 0.5},
        },
        "sampling": {"r_hat": 1.003, "proposals": 100},
    }
    found = {tile.name: tile for tile in tiles(summary, result_rows(summary))}
    assert found["symmetry of ΔH (Crooks)"].state == "bad"
    assert not any("exp" in name for name in found)
    tile = found["R-hat of the order parameter"]
    assert (tile.value, tile.state) == ("1.003", "good")
    stuck = summary | {"sampling": {"r_hat": 5.2}, "untrusted": {"chains": "the chains disagree"}}
    found = {tile.name: tile for tile in tiles(stuck, result_rows(stuck))}
    tile = found["R-hat of the order parameter"]
    assert (tile.value, tile.note, tile.state) == ("5.200", "the chains disagree", "bad")
