"""Observables that a card names, through runs of every kind of sampler, a comparison, a study and the command line."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from trivmap.cards.card import RunCard
from trivmap.cli.main import cli
from trivmap.errors import InputError
from trivmap.reports import write_report
from trivmap.reports.tables import result_rows
from trivmap.runs import pipeline
from trivmap.runs.checking import check
from trivmap.runs.plan import Plan
from trivmap.runs.sampling import sample
from trivmap.store.samples import SampleReader

MODULE = """
import jax.numpy as jnp
from trivmap.observables import FunctionOfMeans, Mean

square = Mean(name="square", symbol="again", measure=lambda field, action: jnp.mean(field**2, dtype=float))
more = [
    FunctionOfMeans(name="ratio", needs=("phi4", "square"), function=lambda m, lattice: m["phi4"] / m["square"] ** 2),
    Mean(name="profile", axes=("x",), measure=lambda field, action: field**2),
]
text, empty, mixed = "square", [], [square, "square"]
broken = Mean(name="broken", measure=lambda field, action: field.nonsense)


def function(field, action):
    raise AssertionError("is called")
"""
BASE = {
    "seed": 4,
    "lattice": [6],
    "action": {"kind": "phi4", "notation": "bosetti2015", "beta": 0.5, "lam": 0.5},
    "measure": {"stages": {"proposals": 64}, "observables": ["mine_too:square", "mine_too:more"]},
}
GAUSSIAN = {"base": {"kind": "free-field", "learnable": False}, "maps": []}
SAMPLERS = {
    "flow": {"model": GAUSSIAN, "sampling": {"kind": "flow", "chains": 2, "proposals": 20_000, "probe": False}},
    "hmc": {"sampling": {"kind": "hmc", "chains": 4, "proposals": 20_000}},
    "cluster": {"sampling": {"kind": "cluster", "chains": 2, "proposals": 20_000}},
    "annealed": {"sampling": {"kind": "annealed", "chains": 2, "proposals": 8000, "steps": 4}},
}


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("mine_too.py").write_text(MODULE)
    yield tmp_path
    sys.modules.pop("mine_too", None)


@pytest.mark.parametrize("kind", SAMPLERS)
def test_every_sampler_measures_them(kind, tmp_path):
    run = pipeline.create(RunCard.from_data(BASE | SAMPLERS[kind]), tmp_path / "run")
    sample(run)
    summary = pipeline.measure(run)
    known = summary["observables"]
    assert known["square"]["value"] == pytest.approx(known["phi2"]["value"], rel=1e-5)
    assert known["square"]["error"] == pytest.approx(known["phi2"]["error"], rel=1e-3)
    assert known["square"]["symbol"] == "again" and "profile" not in known
    with SampleReader(run.root) as reader:
        assert reader.attrs["own_measurements"] == "profile, square"
        profile = reader.read("profile", 0, 0, 5)
        np.testing.assert_allclose(profile.mean(axis=1), reader.read("square", 0, 0, 5), rtol=1e-5)
    rows = {row.name: row for row in result_rows(summary)}
    assert rows["square"].symbol == "again" and list(rows)[-1] == ("log_z" if kind in ("flow", "annealed") else "ratio")
    write_report(run.root)
    assert "again" in (run.root / "report.html").read_text()


def test_samples_are_continued_with_the_same_and_no_others(tmp_path):
    data = BASE | SAMPLERS["hmc"]
    run = pipeline.create(RunCard.from_data(data), tmp_path / "run")
    sample(run)
    more = RunCard.from_data(data).with_overrides(["sampling.proposals=24000"])
    sample(run, card=more)
    assert pipeline.measure(run)["sampling"]["proposals"] == 24_000
    other = more.with_overrides(["sampling.proposals=28000", "measure.observables=[]"])
    with pytest.raises(InputError, match="own_measurements"):
        sample(run, card=other)


def test_what_the_samples_do_not_hold(tmp_path):
    without = {**BASE, **SAMPLERS["hmc"], "measure": {}}
    run = pipeline.create(RunCard.from_data(without), tmp_path / "run")
    sample(run)
    pipeline.measure(run)
    card = run.card().with_overrides(['measure.observables=["mine_too:square"]'])
    with pytest.raises(InputError, match=r"^measure\.observables: square was not measured when the samples of .*/run"):
        pipeline.measure(run, card=card)
    assert run.card().measure.observables == [] and "square" not in run.summary()["observables"]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            ["mine_too:text"],
            "measure.observables.0: mine_too:text must be an observable such as trivmap.observables.Mean(",
        ),
        (["mine_too:square", "mine_too:empty"], "measure.observables.1: mine_too:empty must be an observable"),
        (["mine_too:mixed"], "measure.observables.0: mine_too:mixed must be an observable"),
        (["mine_too:function"], "measure.observables.0: mine_too:function must be an observable"),
        (["mine_too:nothing"], "measure.observables.0: the module 'mine_too' has no 'nothing'"),
        (["not_there:square"], "measure.observables.0: cannot import 'not_there'"),
        (["mine_too:square", "mine_too:square"], "measure.observables: two have the name square"),
        (["mine_too:broken"], "measure.observables: broken cannot be measured on one configuration (AttributeError: "),
    ],
)
def test_refusals(names, sentence, tmp_path):
    card = RunCard.from_data({**BASE, **SAMPLERS["hmc"], "measure": {"observables": names}})
    with pytest.raises(InputError) as caught:
        check(Plan(card), tmp_path / "run")
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["square", ["square"], [1], [None], ["a:b:c"], {"a": 1}])
def test_names_that_are_none(value):
    with pytest.raises(InputError, match=r"measure\.observables"):
        RunCard.from_data({**BASE, **SAMPLERS["hmc"], "measure": {"observables": value}})


def test_a_directory_runs_them_only_where_it_is_trusted(tmp_path):
    run = pipeline.create(RunCard.from_data(BASE | SAMPLERS["hmc"]), tmp_path / "run")
    sample(run)
    pipeline.measure(run)
    sys.modules.pop("mine_too", None)
    Path("mine_too.py").write_text(MODULE + "\nfrom pathlib import Path\nPath('RUN').touch()\n")
    for command in ("sample", "measure"):
        done = CliRunner().invoke(cli, [command, "run"])
        assert done.exit_code == 2 and "names code that would run" in done.stderr
        assert "mine_too:square, mine_too:more" in done.stderr
    for command in ("show", "report"):
        assert CliRunner().invoke(cli, [command, "run"]).exit_code == 0
    assert not Path("RUN").exists()
    assert "again" in (tmp_path / "run" / "report.html").read_text()


def test_a_comparison_has_them(tmp_path):
    from trivmap.reports.comparison import table_text, time_rows, value_rows
    from trivmap.studies.compare_card import CompareCard
    from trivmap.studies.comparison import ComparisonDirectory, compare

    samplers = {name: {**SAMPLERS[name], "measure": BASE["measure"]} for name in ("hmc", "cluster")}
    data = {key: BASE[key] for key in ("lattice", "action", "seed")} | {
        "samplers": samplers,
        "timing": {"rounds": 3, "seconds": 0.02},
    }
    directory = ComparisonDirectory.create(tmp_path / "comparison", CompareCard.from_data(data))
    result = compare(directory, report=lambda run: None)
    for entry in result["samplers"].values():
        square, phi2 = entry["observables"]["square"], entry["observables"]["phi2"]
        assert square["tau_int"]["value"] == pytest.approx(phi2["tau_int"]["value"], rel=1e-3)
        assert entry["observables"]["ratio"].keys() >= {"value", "error"}
    assert {"square", "ratio"} <= {entry["observable"] for entry in result["consistency"]}
    for header, rows in (time_rows(result), value_rows(result)):
        assert any("square" in cell for cell in header) and all(len(row) == len(header) for row in rows)
    assert "square" in table_text(result)


def test_the_command_line_takes_them(tmp_path):
    Path("card.yaml").write_text(json.dumps({**BASE, **SAMPLERS["hmc"], "measure": {}}))
    override = "measure.observables=[mine_too:square]"
    done = CliRunner().invoke(cli, ["validate", "card.yaml", "--set", override, "--trust"])
    assert done.exit_code == 0 and "mine_too:square" in done.output, done.output
    done = CliRunner().invoke(cli, ["run", "card.yaml", "--set", override, "--out", "run", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["observables"]["square"]["symbol"] == "again"
