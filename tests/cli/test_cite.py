"""What `trivmap cite` prints."""

import pytest
from click.testing import CliRunner

from trivmap.cli.main import cli


def cited(*arguments):
    done = CliRunner().invoke(cli, ["cite", *arguments])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_a_run_cites_as_its_card_does(complete, monkeypatch):
    monkeypatch.chdir(complete)
    assert cited("run") == cited("card.yaml")
    assert "@software{trivmap," in cited("run") and "% training.optimizer.kind: adam\n" in cited("run")


def test_a_comparison_cites_what_all_its_samplers_use():
    text = cited("compare-L8")
    for reason in ("model.maps.kind: continuous", "sampling.algorithm: wolff", "sampling.kind: annealed"):
        assert reason in text
    assert text.count("@software{trivmap,") == 1


def test_a_study_names_every_paper_once():
    entries = [line for line in cited("quick-study").splitlines() if line.startswith("@")]
    assert len(entries) == len(set(entries)) > 5


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("nothing", "trivmap: nothing: no preset of that name"),
        ("nothing.yaml", "trivmap: nothing.yaml: no such run card"),
        (".", "trivmap: .: is not a run directory, it has no config.yaml"),
    ],
)
def test_refusals(source, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["cite", source])
    assert done.exit_code == 2 and done.stderr.startswith(sentence) and done.stderr.count("\n") == 1
