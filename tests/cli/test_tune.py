"""The command that finds a coupling."""

import json
import re
import signal
import time

import pytest
import yaml

from tests.runs.support import Command, trivmap


def test_help_ends_in_an_example(tmp_path):
    done = trivmap("tune", "--help", folder=tmp_path)
    assert done.code == 0
    assert "Usage: trivmap tune" in done.out and "Example:\n    trivmap tune 16 --lam 0.5 --ratio 4" in done.out


def test_prints_the_coupling_and_an_action_for_a_card(tmp_path):
    done = trivmap("tune", "4", "--lam", "0.5", "--accuracy", "0.05", folder=tmp_path)
    assert done.code == 0, done.err
    first, second, third, *others, last = done.out.splitlines()
    assert [line.split("notation: ")[-1].split(",")[0] for line in others] == ["standard", "albergo2019", "nicoli2020"]
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
        (["8", "--lam", "-1"], "trivmap: lam: must not be negative"),
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
        (["--lam", "nan"], "lam: must be a finite number"),
        (["--notation", "mine"], "notation: 'mine' is unknown; choose one of standard, albergo2019"),
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


def test_another_notation(tmp_path):
    done = trivmap("tune", "4", "--notation", "standard", "--g", "2.4", "--accuracy", "0.05", "--json", folder=tmp_path)
    assert done.code == 0, done.err
    content = json.loads(done.out)
    assert content["action"] == {"kind": "phi4", "notation": "standard", "m_sq": content["m_sq"]["value"], "g": 2.4}
    elsewhere = {each.pop("notation"): each for each in content["other_notations"]}
    assert elsewhere["albergo2019"]["m_sq"] == pytest.approx(content["m_sq"]["value"])
    # S has the same form with phi / sqrt(2): lam = g / 24 * 4.
    assert elsewhere["albergo2019"]["lam"] == pytest.approx(0.4)


def test_an_interrupted_search_prints_what_it_has(tmp_path):
    """Each simulation doubles at least, so one that takes minutes comes after one that has an error."""
    long = ["--lam", "0.5", "--accuracy", "0.0001", "--cycles", "1000000000", "--log-file", "log.txt"]
    command, log = Command("tune", "6", *long, folder=tmp_path), tmp_path / "log.txt"
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and not (log.exists() and re.search(r"tune: 0 of [0-9]{5,}", log.read_text())):
        time.sleep(0.1)
    command.signal(signal.SIGINT)
    done = command.result()
    assert done.code == 130 and done.out.startswith("beta = 0.5") and "Traceback" not in done.err
    assert done.out.splitlines()[-1].startswith("action: {kind: phi4")


def test_convert(tmp_path):
    done = trivmap("convert", "albergo2019", "m_sq=-4", "lam=6.975", folder=tmp_path)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert [yaml.safe_load(line)["action"]["notation"] for line in lines] == ["standard", "bosetti2015", "nicoli2020"]
    assert yaml.safe_load(lines[1])["action"]["beta"] == pytest.approx(0.535480, abs=1e-6)
    # S = lam phi^4 = lam' phi'^4 with lam' = 1/2.
    assert lines[1].endswith(f"# phi = {(0.5 / 6.975) ** 0.25:.6f} phi'")
    negative = trivmap("convert", "bosetti2015", "beta=-0.5", "lam=0.5", folder=tmp_path).out
    (line,) = negative.splitlines()
    assert line == "action: {kind: phi4, notation: nicoli2020, kappa: -0.250000, lam: 0.500000}  # phi = 1.000000 phi'"
    found = json.loads(trivmap("convert", "standard", "m_sq=0.5", "g=0", "--json", folder=tmp_path).out)
    assert found[0]["action"] == {"kind": "phi4", "notation": "albergo2019", "m_sq": 0.5, "lam": 0.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mine", "a=1", "b=2"], "notation: 'mine' is unknown"),
        (["standard", "m_sq=1"], "g: missing; the notation standard needs m_sq and g"),
        (["standard", "m_sq=1", "g=x"], "g: give the coupling as NAME=VALUE with a number, got 'g=x'"),
        (["standard", "m_sq=1", "g=-1"], "g: must not be negative"),
        (["standard", "m_sq=-1", "g=0"], "without a quartic term"),
    ],
)
def test_convert_refuses(tmp_path, arguments, message):
    done = trivmap("convert", "--", *arguments, folder=tmp_path)
    assert done.code == 2 and done.err.startswith(f"trivmap: {message}") and done.err.count("\n") == 1
