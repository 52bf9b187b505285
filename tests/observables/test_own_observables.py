"""Observables of one's own beside those of the library, against exact values of a free field."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import Flow, InputError, Lattice
from trivmap.actions import FreeScalar
from trivmap.bases import FreeField
from trivmap.bijections import Chain
from trivmap.observables import (
    CATALOG,
    ArrayHistory,
    FunctionOfMeans,
    Mean,
    Observable,
    Results,
    analyze,
    measure,
)
from trivmap.observables.own import require_measurable
from trivmap.simulation import draw

LATTICE = Lattice((4, 4))
ACTION = FreeScalar(1.0, 2)
FLOW = Flow(FreeField(LATTICE, mass=1.1, dtype=jnp.float32), Chain(LATTICE, []))
SQUARE = Mean(name="square", symbol="⟨φ²⟩ again", power=2, measure=lambda field, action: jnp.mean(field**2))
KURTOSIS = FunctionOfMeans(
    name="kurtosis", symbol="k", needs=("phi4", "square"), function=lambda m, lattice: m["phi4"] / m["square"] ** 2
)
ROWS = Mean(name="rows", axes=("row",), measure=lambda field, action: jnp.mean(field, axis=1) ** 2)
CUBE = Mean(name="cube", zero_under="z2", measure=lambda field, action: jnp.mean(field**3))
FORCE = Mean(name="force", exact=1.0, measure=lambda field, action: -jnp.mean(field * action.force(field)))
HIDDEN = Mean(name="hidden", hidden=True, measurement="square", each=np.sqrt)
OWN = (SQUARE, KURTOSIS, ROWS, CUBE, FORCE, HIDDEN)


@pytest.fixture(scope="module")
def history():
    return draw(FLOW, ACTION, jax.random.key(3), proposals=40_000, chains=2, observables=OWN)


@pytest.fixture(scope="module")
def results(history):
    return analyze(history)


def test_the_same_formula_gives_the_same_number(results):
    assert results["square"].value == pytest.approx(results["phi2"].value, rel=1e-6)
    assert results["square"].dvalue == pytest.approx(results["phi2"].dvalue, rel=1e-4)
    assert results["force"].value == pytest.approx(results["schwinger_dyson"].value, rel=1e-6)
    assert results.tau_int["square"] == pytest.approx(results.tau_int["phi2"], rel=1e-3)


def test_exact_values(results):
    assert abs(results["kurtosis"].value - 3) < 3 * results["kurtosis"].dvalue < 0.1
    assert abs(results["cube"].value) < 3 * results["cube"].dvalue < 0.1
    rows = np.mean(1 / (LATTICE.momentum_squared[:, 0] + 1)) / 4
    assert results["rows"].shape == (4,)
    for row in results["rows"]:
        assert abs(row.value - rows) < 3.5 * row.dvalue < 0.1 * rows


def test_reweighted_values_and_differences(results):
    for name in ("square", "kurtosis", "cube"):
        difference = results.difference[name]
        assert abs(difference.value) < 4 * difference.dvalue
        assert results.reweighted[name].dvalue > 0


def test_where_they_appear(results):
    summary = results.summary()
    assert list(summary)[-4:] == ["square", "cube", "force", "kurtosis"]
    assert summary["square"]["symbol"] == "⟨φ²⟩ again" and summary["force"]["symbol"] == ""
    assert "symbol" not in summary["phi2"] and "rows" not in summary and "hidden" not in results
    back = Results.from_text(results.to_text(), "observables.json")
    assert {name: entry.get("symbol") for name, entry in back.summary().items()} == {
        name: entry.get("symbol") for name, entry in summary.items()
    }
    for each in (results, back):
        dataset = each.to_xarray()
        assert dataset["rows"].dims == ("source", "quantity", "rows_row")
        assert dataset["rows"].shape == (3, 4, 4)


def test_a_wrong_exact_value_withholds_everything(history):
    wrong = Mean(name="square", exact=0.9, measure=SQUARE.measure)
    results = analyze(history, observables=(wrong,))
    assert len(results) == 0
    assert results.info["broken_identity"].startswith("square is 0.9 in every correct ensemble, but here ")


def test_a_broken_symmetry_withholds_what_it_makes_zero():
    rng = np.random.default_rng(5)
    chain = ArrayHistory(
        {"phi2": rng.normal(2, 1, (2, 4000)), "cube": rng.normal(0.2, 1, (2, 4000))}, symmetries={"z2"}, own=[CUBE]
    )
    results = analyze(chain)
    assert "phi2" in results and "cube" not in results
    assert results.untrusted["cube"].startswith("a sector is missing: the action has the symmetry z2")
    assert "cube" in analyze(chain, symmetries=())


def test_own_observables_do_not_change_the_others(history, results):
    alone = analyze(draw(FLOW, ACTION, jax.random.key(3), proposals=40_000, chains=2))
    for name in ("phi2", "susceptibility", "correlation_length", "schwinger_dyson"):
        assert results[name].value == pytest.approx(alone[name].value, rel=1e-7)


def test_measure_takes_them():
    field = jax.random.normal(jax.random.key(0), LATTICE.shape)
    measured = measure(ACTION, field, own=OWN)
    assert set(measured) == {*measure(ACTION, field), "square", "rows", "cube", "force"}
    assert float(measured["square"]) == pytest.approx(float(measured["phi2"]), rel=1e-6)


def needing(*names):
    return FunctionOfMeans(name="mine", needs=names, function=lambda m, lattice: 0)


def making(function):
    return FunctionOfMeans(name="mine", needs=("phi2",), function=lambda m, lattice: function(m))


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        ([Mean(name="phi2", measure=SQUARE.measure)], "observables: two have the name phi2; give one"),
        ([SQUARE, SQUARE], "observables: two have the name square; give one"),
        (
            [needing("phi5")],
            "observables: mine needs phi5, which is not a mean over configurations; known are abs_magn",
        ),
        ([needing("binder")], "observables: mine needs binder, which is not a mean"),
        ([Mean(name="mine")], "observables: nothing measures mine; give mine a measure(field, action)"),
        (
            [Mean(name="mine", measurement="phi4", measure=SQUARE.measure)],
            "observables: phi4 is the name of two measurements; rename one of them",
        ),
        (
            [Mean(name="mine", measure=lambda field, action: field @ jnp.ones(5, field.dtype))],
            "observables: mine cannot be measured on one configuration (TypeError: ",
        ),
        (
            [Mean(name="mine", measure=lambda field, action: 1 / 0)],
            "observables: mine cannot be measured on one configuration (ZeroDivisionError: division by zero)",
        ),
        (
            [Mean(name="mine", measure=lambda field, action: jnp.fft.fft(field[0]))],
            "observables: the measure of mine must give a real number or an array of them",
        ),
        ([Mean(name="a/b", measure=SQUARE.measure)], "observables: 'a/b' is not a name; write up to 60 letters"),
        ([Mean(name="", measure=SQUARE.measure)], "observables: '' is not a name; write up"),
        ([Mean(name="x[0]", measure=SQUARE.measure)], "observables: 'x[0]' is not a name; write up"),
        ([Mean(name="m" * 61, measure=SQUARE.measure)], "observables: 'mmm"),
        ([Mean(name="mine", measurement="../x", measure=SQUARE.measure)], "observables: '../x' is not a name"),
        ([Mean(name="chains", measure=SQUARE.measure)], "observables: chains stands for something else in the files"),
        ([Mean(name="log_weight", measure=SQUARE.measure)], "observables: log_weight stands for something else"),
        ([Mean(name="mine", measurement="cluster_size", each=np.sqrt)], "observables: nothing measures cluster_size"),
        (
            [needing("cluster_size")],
            "observables: mine needs cluster_size, which this sampler does not measure on these fields",
        ),
        ([Observable(name="mine")], "observables: mine has no value; make it a Mean or a FunctionOfMeans"),
        (
            [Mean(name="mine", measure=SQUARE.measure, zero_under="Z2")],
            "observables: zero_under of mine is 'Z2', not a symmetry; choose one of even-translations, point-group",
        ),
        (
            [Mean(name="mine", measure=SQUARE.measure, exact=np.inf)],
            "observables: exact of mine must be a finite number",
        ),
        (
            [Mean(name="mine", measure=SQUARE.measure, exact=1.0, hidden=True)],
            "observables: mine is hidden, so its",
        ),
        (
            [Mean(name="mine", measure=ROWS.measure)],
            "observables: mine has 1 axes and names 0 of them; give axes=(...)",
        ),
        (
            [Mean(name="mine", measure=SQUARE.measure, each=np.mean)],
            "observables: each of mine must give real numbers of shape [3], got float64 of shape []",
        ),
        ([making(lambda m: 1 / 0)], "observables: mine cannot be measured on one configuration (ZeroDivisionError"),
        ([making(lambda m: float(m["phi2"] + 1j))], "observables: mine cannot be measured on one configuration ("),
        ([making(lambda m: m["phi4"])], "observables: mine cannot be measured on one configuration (KeyError: 'phi4')"),
        (
            [making(lambda m: m["phi2"] + 0j)],
            "observables: function of mine must give real numbers of shape [], got co",
        ),
        (
            [Mean(name="mine", measure=lambda field, action: {"a": field[0, 0]})],
            "observables: the measure of mine must give a real number or an array of them",
        ),
    ],
)
def test_refusals(own, sentence):
    with pytest.raises(InputError) as caught:
        require_measurable(own, ACTION, LATTICE, jnp.float32)
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)
    with pytest.raises(InputError) as caught:
        draw(FLOW, ACTION, jax.random.key(0), proposals=800, observables=own)
    assert str(caught.value).startswith(sentence)


def test_one_measurement_may_serve_two():
    both = [SQUARE, Mean(name="root", measurement="square", each=np.sqrt)]
    require_measurable(both, ACTION, LATTICE, jnp.float32)
    results = analyze(draw(FLOW, ACTION, jax.random.key(1), proposals=8000, observables=both))
    assert 0 < results["root"].value < np.sqrt(results["square"].value)


def test_the_catalog_itself_stays_as_it_is():
    extended = CATALOG.with_own([SQUARE])
    assert list(extended)[-1] == "square" and "square" not in CATALOG
    assert CATALOG.with_own([]) is CATALOG


@pytest.mark.parametrize(
    "function",
    [
        lambda m: abs(m["phi2"]) / m["square"],
        lambda m: np.real(m["phi2"]),
    ],
)
def test_a_function_that_is_not_analytic_gets_no_error_and_no_value(history, function):
    needs = ("phi2", "square")
    own = (SQUARE, FunctionOfMeans(name="mine", needs=needs, function=lambda m, lattice: function(m)))
    results = analyze(history, observables=own)
    assert "mine" not in results
    assert results.untrusted["mine"].startswith("its function is not analytic, so it has no error")
    assert "susceptibility" in results


def test_a_function_that_fails_at_the_means(history):
    mine = FunctionOfMeans(name="mine", needs=("phi2",), function=lambda m, lattice: [][int(np.real(m["phi2"]) < 9)])
    assert (
        analyze(history, observables=(mine,)).untrusted["mine"]
        == "its function fails (IndexError: list index out of range)"
    )


def test_values_that_are_no_numbers_concern_only_what_needs_them():
    rng = np.random.default_rng(2)
    phi = rng.normal(1, 0.3, (2, 20_000))
    spoilt = phi.copy()
    spoilt[0, 77], spoilt[1, 5] = np.nan, np.inf
    needs = FunctionOfMeans(name="ratio", needs=("spoilt",), function=lambda m, lattice: 1 / m["spoilt"])
    arrays = {"magnetization": phi, "phi2": phi**2}
    clean = analyze(ArrayHistory(arrays, lattice=[4, 4]))
    results = analyze(ArrayHistory(arrays | {"spoilt": spoilt}, lattice=[4, 4], own=[Mean(name="spoilt"), needs]))
    for name in ("susceptibility", "binder", "phi2"):
        assert results[name].value == clean[name].value and results[name].dvalue == clean[name].dvalue
    assert results.untrusted["spoilt"] == results.untrusted["ratio"] == "it is not a number"


def test_own_scalars_do_not_decide_over_the_others():
    rng = np.random.default_rng(8)
    slow = np.zeros((2, 12_000))
    for step in range(1, slow.shape[1]):
        slow[:, step] = 0.9 * slow[:, step - 1] + rng.normal(size=2)
    copies = {f"copy{k}": rng.normal(size=slow.shape) for k in range(9)}
    own = [Mean(name=name) for name in copies]
    alone = analyze(ArrayHistory({"magnetization": 3 + slow, "phi2": slow**2}, lattice=[4, 4]))
    beside = analyze(ArrayHistory({"magnetization": 3 + slow, "phi2": slow**2} | copies, lattice=[4, 4], own=own))
    assert "binder" not in alone
    assert beside.untrusted["binder"] == alone.untrusted["binder"]


def test_what_nothing_gave_is_said():
    chain = ArrayHistory({"phi2": np.random.default_rng(1).normal(2, 1, (2, 4000))}, own=[SQUARE, KURTOSIS])
    results = analyze(chain)
    assert results.untrusted["square"] == results.untrusted["kurtosis"] == "its measurements are missing"


def test_draw_takes_one():
    assert draw(FLOW, ACTION, jax.random.key(0), proposals=800, observables=SQUARE)["square"].shape == (4, 200)
