"""`trivmap validate` of cards of many runs."""

import json

import pytest
import yaml
from click.testing import CliRunner

from trivmap.cli.main import cli
from trivmap.reports.formats import count

COMPARISON = {
    "lattice": [4, 4],
    "action": {"kind": "free", "m_sq": 0.5},
    "samplers": {
        "flow": {
            "model": {"base": {"kind": "free-field"}, "maps": []},
            "training": {"steps": 10, "batch": 16, "optimizer": {"kind": "adam", "learning_rate": 0.01}},
            "sampling": {"kind": "flow", "proposals": 4000},
        },
        "hmc": {"sampling": {"kind": "hmc", "chains": 4, "proposals": 8000}},
    },
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "comparison.yaml").write_text(yaml.safe_dump(COMPARISON))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def validated(*arguments):
    done = CliRunner().invoke(cli, ["validate", *arguments])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_a_comparison(folder):
    said = validated("comparison.yaml")
    assert "# valid; 2 runs\n# training: 160 configurations, evaluations not counted\n# expected: " in said
    assert yaml.safe_load(said)["samplers"]["hmc"]["sampling"]["chains"] == 4
    found = json.loads(validated("comparison.yaml", "--json"))
    assert found["runs"] == ["flow", "hmc"] and found["expected"]["training_configurations"] == 160
    assert found["expected"]["proposals"] == 12_000 and found["expected"]["configurations"] > 160
    assert [path.name for path in folder.iterdir()] == ["comparison.yaml"]


def test_a_study(folder):
    said = validated("quick-study", "--set", "seeds=[0]")
    assert "# valid; 6 runs\n" in said and f"# training: {count(162_816)} configurations" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["comparison.yaml", "--set", "action.m_sq=1.0e-6"], "samplers.flow: dtype: float32 loses"),
        (
            ["comparison.yaml", "--set", "samplers.hmc.sampling.chain=4"],
            "comparison.yaml: samplers.hmc.sampling.chain: ",
        ),
        (["quick-study", "--set", "extents=[3]"], "quick-study: "),
    ],
)
def test_refusals(folder, arguments, sentence):
    done = CliRunner().invoke(cli, ["validate", *arguments])
    assert done.exit_code == 2 and done.stderr.startswith(f"trivmap: {sentence}") and done.stderr.count("\n") == 1
    assert done.stdout == ""
