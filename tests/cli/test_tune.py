"""The command that finds a coupling."""

import json

import pytest
import yaml

from tests.runs.support import trivmap


def test_help_ends_in_an_example(tmp_path):
    done = trivmap("tune", "--help", folder=tmp_path)
    assert done.code == 0
    assert "Usage: trivmap tune" in done.out and "Example:\n    trivmap tune 16 --lam 0.5 --ratio 4" in done.out


def test_prints_the_coupling_and_an_action_for_a_card(tmp_path):
    done = trivmap("tune", "4", "--lam", "0.5", "--accuracy", "0.05", folder=tmp_path)
    assert done.code == 0, done.err
    first, second, third, last = done.out.splitlines()
    assert first.startswith("beta = 0.") and first.endswith(" for L/xi = 4 on 4x4 at lam = 0.5")
    assert second.startswith("correlation length there: 1.") and " cluster cycles in " in third
    action = yaml.safe_load(last)["action"]
    assert action["kind"] == "phi4" and action["notation"] == "bosetti2015" and action["lam"] == 0.5
    assert 0.3 < action["beta"] < 0.6
    assert done.err.startswith("tune: 0 of 400\n")


def test_json(tmp_path):
    arguments = ["--lam", "0.5", "--accuracy", "0.05", "--ratio", "5", "--bracket", "0.3", "0.4", "--seed", "2"]
    done = trivmap("tune", "6x4", *arguments, "--json", folder=tmp_path)
    assert done.code == 0, done.err
    content = json.loads(done.out)
    assert content["lattice"] == [6, 4] and content["ratio"] == 5 and content["seed"] == 2
    assert content["action"]["beta"] == content["beta"]["value"]
    assert content["correlation_length"]["value"] == 1.2
    assert content["correlation_length"]["error"] <= 0.05 * 1.2
    assert content["cycles"] == sum(each["cycles"] for each in content["simulations"])
    assert content["simulations"][0]["beta"] == 0.3 and content["accurate"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["8y8", "--lam", "0.5"], "trivmap: lattice: '8y8' is neither an extent like 16 nor extents like 8x8x16\n"),
        (["1", "--lam", "0.5"], "trivmap: lattice: needs at least one extent and every extent >= 2, got [1, 1]\n"),
        (["8", "--lam", "-1"], "trivmap: ratio, accuracy, lam: need ratio > 0"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, arguments, message):
    done = trivmap("tune", *arguments, folder=tmp_path)
    assert done.code == 2 and done.err.startswith(message) and done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--cycles", "0"],
            "cycles: must be at least 1600, the cycles of one pilot simulation (4 chains of 400), got 0",
        ),
        (["--cycles", "-5"], "cycles: must be at least 1600"),
        (
            ["--seed", "18446744073709551616"],
            "seed: must be at least 0 and less than 4294967296, got 1",
        ),
        (["--seed", "-1"], "seed: must be at least 0"),
        (["--threads", "-3"], "threads: must be at least 1, got -3; leave it out for all processors"),
        (["--lam", "nan"], "ratio, accuracy, lam: need"),
    ],
)
def test_senseless_numbers(tmp_path, arguments, message):
    done = trivmap("tune", "8", "--lam", "0.5", *arguments, folder=tmp_path)
    assert done.code == 2 and done.out == ""
    assert done.err.startswith(f"trivmap: {message}") and done.err.count("\n") == 1


@pytest.mark.parametrize("lattice", ["99999x99999", "9" * 5000, "2x" * 20 + "2", "٨"])
def test_absurd_lattices(tmp_path, lattice):
    done = trivmap("tune", lattice, "--lam", "0.5", folder=tmp_path)
    assert done.code == 2 and done.err.startswith("trivmap: lattice: ") and len(done.err) < 250


@pytest.mark.parametrize("as_json", [False, True])
def test_too_few_cycles_are_not_spent_in_vain(tmp_path, as_json):
    few = ["--lam", "0.5", "--accuracy", "0.001", "--cycles", "20000"]
    done = trivmap("tune", "4", *few, "-q", *(["--json"] if as_json else []), folder=tmp_path)
    assert done.code == 2
    assert done.err.startswith("trivmap: cycles: ") and "not the wanted 0.1%" in done.err and done.err.count("\n") == 1
    if as_json:
        content = json.loads(done.out)
        assert content["accurate"] is False and content["correlation_length"]["error"] > 0.001
    else:
        assert done.out.startswith("beta = 0.4") and done.out.splitlines()[-1].startswith("action: {kind: phi4")
