"""Observables of one's own beside those of the library, against exact values of a free field."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import Flow, InputError, Lattice
from trivmap.actions import FreeScalar
from trivmap.bases import FreeField
from trivmap.bijections import Chain
from trivmap.observables import CATALOG, ArrayHistory, FunctionOfMeans, Mean, Results, analyse, measure
from trivmap.observables.measure import require_measurable
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
    return analyse(history)


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


def test_where_they_appear(results, tmp_path):
    summary = results.summary()
    assert list(summary)[-4:] == ["square", "cube", "force", "kurtosis"]
    assert summary["square"]["symbol"] == "⟨φ²⟩ again" and summary["force"]["symbol"] == ""
    assert "symbol" not in summary["phi2"] and "rows" not in summary and "hidden" not in results
    results.to_json(tmp_path / "observables.json")
    back = Results.from_json(tmp_path / "observables.json")
    assert {name: entry.get("symbol") for name, entry in back.summary().items()} == {
        name: entry.get("symbol") for name, entry in summary.items()
    }
    for each in (results, back):
        dataset = each.to_xarray()
        assert dataset["rows"].dims == ("source", "quantity", "row")
        assert dataset["rows"].shape == (3, 3, 4)


def test_a_wrong_exact_value_withholds_everything(history):
    wrong = Mean(name="square", exact=0.9, measure=SQUARE.measure)
    results = analyse(history, observables=(wrong,))
    assert len(results) == 0
    assert results.info["broken_identity"].startswith("square is 0.9 in every correct ensemble, and here ")


def test_a_broken_symmetry_withholds_what_it_makes_zero():
    rng = np.random.default_rng(5)
    chain = ArrayHistory(
        {"phi2": rng.normal(2, 1, (2, 4000)), "cube": rng.normal(0.2, 1, (2, 4000))}, symmetries={"z2"}, own=[CUBE]
    )
    results = analyse(chain)
    assert "phi2" in results and "cube" not in results
    assert results.untrusted["cube"].startswith("a sector is missing: the action has the symmetry z2")
    assert "cube" in analyse(chain, symmetries=())


def test_own_observables_do_not_change_the_others(history, results):
    alone = analyse(draw(FLOW, ACTION, jax.random.key(3), proposals=40_000, chains=2))
    for name in ("phi2", "susceptibility", "correlation_length", "schwinger_dyson"):
        assert results[name].value == pytest.approx(alone[name].value, rel=1e-7)


def test_measure_takes_them():
    field = jax.random.normal(jax.random.key(0), LATTICE.shape)
    measured = measure(ACTION, field, own=OWN)
    assert set(measured) == {*measure(ACTION, field), "square", "rows", "cube", "force"}
    assert float(measured["square"]) == pytest.approx(float(measured["phi2"]), rel=1e-6)


def needing(*names):
    return FunctionOfMeans(name="mine", needs=names, function=lambda m, lattice: 0)


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        ([Mean(name="phi2", measure=SQUARE.measure)], "observables: phi2 is the name of two; give one"),
        ([SQUARE, SQUARE], "observables: square is the name of two; give one"),
        ([needing("phi5")], "observables: mine needs phi5, which is no mean of configurations; known here: abs_magn"),
        ([needing("binder")], "observables: mine needs binder, which is no mean"),
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
        (
            [Mean(name="mine", measure=lambda field, action: {"a": field[0, 0]})],
            "observables: the measure of mine must give a real number or an array of them",
        ),
    ],
)
def test_refusals(own, sentence):
    with pytest.raises(InputError) as caught:
        require_measurable(own, ACTION, LATTICE.shape, jnp.float32)
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)
    with pytest.raises(InputError) as caught:
        draw(FLOW, ACTION, jax.random.key(0), proposals=800, observables=own)
    assert str(caught.value).startswith(sentence)


def test_one_measurement_may_serve_two():
    both = [SQUARE, Mean(name="root", measurement="square", each=np.sqrt)]
    require_measurable(both, ACTION, LATTICE.shape, jnp.float32)
    results = analyse(draw(FLOW, ACTION, jax.random.key(1), proposals=8000, observables=both))
    assert 0 < results["root"].value < np.sqrt(results["square"].value)


def test_the_catalog_itself_stays_as_it_is():
    extended = CATALOG.with_own([SQUARE])
    assert list(extended)[-1] == "square" and "square" not in CATALOG
    assert CATALOG.with_own([]) is CATALOG
