"""The list of the runs in a folder."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner

from tests.cli.conftest import CARD
from trivmap.cards.card import RunCard
from trivmap.cli import runs_list
from trivmap.cli.main import cli
from trivmap.runs.verdicts import OF_SAMPLES
from trivmap.store.sealed import seal


@pytest.fixture
def runs(complete, tmp_path, monkeypatch):
    """A folder with a finished run, one in a folder of its own, and what are no runs."""
    shutil.copytree(complete / "run", tmp_path / "runs" / "first")
    shutil.copytree(complete / "run", tmp_path / "runs" / "study" / "second")
    shutil.copytree(complete / "run", tmp_path / "runs" / "study" / "deep" / "third")
    (tmp_path / "runs" / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def listed(*arguments):
    done = CliRunner().invoke(cli, ["list", *arguments])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def states(*arguments):
    return {run["run"]: run["state"] for run in json.loads(listed(*arguments, "--json"))}


def test_a_line_for_each_run(runs, complete):
    header, *lines = listed().splitlines()
    assert header.split() == [
        *("run", "lattice", "action", "method", "state", "acceptance", "proposals", "susceptibility"),
    ]
    assert [line.split()[0] for line in lines] == ["runs/first", "runs/study/second"]
    cells = re.split(r" {2,}", lines[0])
    assert cells[:5] == ["runs/first", "4", "phi4 beta=0.5 lam=0.5", "flow: affine", "measured"]
    summary = json.loads((complete / "run" / "summary.json").read_text())
    found = json.loads(listed("--json"))[0]
    assert found["acceptance"] == summary["sampling"]["acceptance"] and found["proposals"] == 4000
    assert found["susceptibility"] == summary["observables"]["susceptibility"]
    assert (found["lattice"], found["name"], found["step"], found["steps"]) == ([4], "small", 40, 40)


def test_states(runs):
    summary = runs / "first" / "summary.json"
    content = json.loads(summary.read_text())
    del content["sha256"]
    for key, state in (("observables", "sampled"), ("sampling", "trained")):
        content[key] = {} if key == "observables" else None
        content["untrusted"] = {"chains": "they disagree"}
        summary.write_text(seal(json.dumps(content)))
        assert states()["runs/first"] == state
    summary.unlink()
    metrics = runs / "first" / "metrics.jsonl"
    metrics.write_text('{"step": 10}\n{"step": 20}\n{"ste')
    assert states()["runs/first"] == "training" and " step 20 of 40 " in listed()
    metrics.unlink()
    assert states()["runs/first"] == "new"


def test_keys_that_sampling_writes_are_those_of_the_pipeline():
    assert set(OF_SAMPLES) == runs_list._OF_SAMPLES


def test_steps_of_a_ladder_are_counted():
    ladder = [{"lattice": [2], "steps": 7}, {"lattice": [2]}]
    card = RunCard.from_data({**CARD, "training": {**CARD["training"], "ladder": ladder}})
    assert runs_list._steps(card.to_data()) == card.training_steps == 87


def test_nothing_of_a_run_is_imported_and_jax_neither(runs):
    (runs.parent / "mine.py").write_text("raise AssertionError")
    card = {**CARD, "action": {"kind": "mine:Action"}}
    (runs / "first" / "config.yaml").write_text(yaml.safe_dump(card))
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)))\n"
        "from trivmap.__main__ import main\nsys.argv = ['trivmap', 'list']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and " mine:Action " in done.stdout
    assert not {"jax", "numpy", "pydantic", "mine"} & set(done.stderr.split())


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("summary.json", "{", "runs/first/summary.json: is damaged; run trivmap run --resume runs/first, which"),
        ("summary.json", '{"schema": 1}', "runs/first/summary.json: was altered, its checksum does not fit; "),
        ("config.yaml", "[", "runs/first/config.yaml, line 1, column 2: not valid YAML"),
        ("config.yaml", "lattice: 4", "runs/first/config.yaml: is no run card, which has a lattice and an action"),
        ("config.yaml", "lattice: [4]\naction: {kind: free}\ntraining: 7", "runs/first/config.yaml: is no run card"),
    ],
)
def test_a_run_that_cannot_be_read_hides_no_other(runs, name, content, sentence):
    (runs / "first" / name).write_text(content)
    said = listed()
    assert f"\nunreadable: {sentence}" in said and " unreadable " in said
    assert states() == {"runs/first": "unreadable", "runs/study/second": "measured"}


def test_folders_without_runs(runs):
    assert listed("runs/study/deep").count("\n") == 2
    shutil.rmtree(runs / "study")
    (runs / "study").mkdir()
    assert listed("runs/study") == "runs/study: holds no run directories; trivmap run makes one\n"
    assert json.loads(listed("runs/study", "--json")) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["list", "nowhere"], "nowhere: no such folder; give the folder that holds run directories"),
        (["list", "runs/first"], "runs/first: is a run itself; see it with trivmap show runs/first"),
        (["show", "runs"], "runs: is a folder of runs; list them with trivmap list runs, and show one of them"),
        (["show", "runs/study"], "runs/study: is a folder of runs; list them with trivmap list runs/study"),
        (["show", "nowhere"], "nowhere: no such run directory"),
    ],
)
def test_refusals(runs, arguments, sentence):
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 2 and done.stderr.startswith(f"trivmap: {sentence}") and done.stderr.count("\n") == 1
