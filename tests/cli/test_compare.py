"""What `trivmap compare` refuses, and how it and the other commands tell their cards apart."""

import pytest
import yaml
from click.testing import CliRunner

from tests.runs.support import contents
from tests.studies.test_compare_card import CARD
from trivmap.cli.main import cli


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(CARD))
    return tmp_path


def refused(*arguments, folder):
    before = contents(folder)
    done = CliRunner().invoke(cli, list(arguments))
    assert done.exit_code == 2 and done.stdout == "" and contents(folder) == before
    said = done.stderr.splitlines()
    assert len(said) == 1 and said[0].startswith("trivmap: ")
    return said[0].removeprefix("trivmap: ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["compare"], "give either a compare card (a file or a preset, see trivmap presets) or --resume DIR"),
        (["compare", "phi4-L8"], "phi4-L8: is the card of one run, run it with trivmap run phi4-L8"),
        (["compare", "compare-L7"], "compare-L7: no preset of that name, did you mean compare-L8?"),
        (["compare", "--resume", "nowhere"], "nowhere: is not a comparison, it has no comparison.yaml"),
        (["compare", "--resume", "x", "--set", "seed=1"], "--resume continues as comparison.yaml says"),
        (
            ["compare", "card.yaml", "--set", "samplers.flow.trainin.steps=1"],
            "card.yaml: samplers.flow.trainin: unknown",
        ),
        (["compare", "card.yaml", "--out", "card.yaml"], "card.yaml: exists already; give another --out"),
        (["run", "compare-L8"], "compare-L8: compares several samplers; run it with trivmap compare compare-L8"),
        (["train", "compare-L8"], "compare-L8: compares several samplers; run it with trivmap compare compare-L8"),
        (["run", "card.yaml"], "card.yaml: compares several samplers; run it with trivmap compare"),
    ],
)
def test_mistakes(folder, arguments, sentence):
    assert refused(*arguments, folder=folder).startswith(sentence)


def test_presets_are_listed_under_the_command_they_are_for():
    listed = CliRunner().invoke(cli, ["presets"]).stdout
    runs, comparisons = listed.split("Compare cards, for trivmap compare:")
    assert runs.startswith("Run cards, for trivmap run:\nname ")
    assert "compare-L8" in comparisons and "compare-L8" not in runs


def test_a_preset_is_printed_as_a_card_that_can_be_changed(folder):
    text = CliRunner().invoke(cli, ["presets", "compare-L8"]).stdout
    assert yaml.safe_load(text)["samplers"]["flow"]["use"] == "phi4-L8"
