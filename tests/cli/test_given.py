"""`trivmap measure --configurations` and `trivmap forward-ess`: what they print, and what they leave alone."""

import json
import re

import h5py
import numpy as np
import pytest

from tests.runs.support import contents, trivmap
from trivmap.observables import Results
from trivmap.store.samples import SampleReader
from trivmap.store.sealed import read_sealed_text


@pytest.fixture
def folder(copy):
    """A copy of the run with its chain, every tenth field, as if it came from elsewhere."""
    with SampleReader(copy / "run") as reader:
        fields = reader["fields"]
    with h5py.File(copy / "hmc.h5", "w") as file:
        file["cfg"], file["twice"] = fields, 2 * fields
    np.save(copy / "hmc.npy", fields[0])
    return copy


def test_an_ensemble_is_measured_and_compared(folder):
    before = contents(folder / "run")
    done = trivmap(
        "measure", "run", "--configurations", "hmc.h5:/cfg", "--out", "own.json", "--json", "-q", folder=folder
    )
    assert done.code == 0, done.err
    said, summary = json.loads(done.out), json.loads((folder / "run" / "summary.json").read_text())
    assert said["shape"] == [2, 200, 4] and said["out"] == "own.json" and said["other_theory"] is None
    for name, each in said["differences"].items():
        here, there = said["observables"][name], summary["observables"][name]
        assert each["value"] == pytest.approx(here["value"] - there["value"])
        assert each["error"] == pytest.approx(np.hypot(here["error"], there["error"]))
        assert abs(each["pull"]) < 5
    assert "phi2" in said["differences"]
    ess = said["map"]["forward_ess"]
    assert abs(ess["value"] - summary["sampling"]["ess"]) < 5 * np.hypot(ess["error"], summary["sampling"]["ess_error"])
    assert said["map"]["warning"] is None and said["warning"] is None
    results = Results.from_text(read_sealed_text(folder / "own.json", "none"), "own.json")
    assert results["phi2"].value == pytest.approx(said["observables"]["phi2"]["value"])
    assert contents(folder / "run") == before
    again = trivmap("measure", "run", "--configurations", "hmc.h5:/cfg", "--out", "own.json", folder=folder)
    assert again.code == 2 and again.err == "trivmap: own.json: exists already; name another file, or delete this one\n"


def test_another_normalization_is_said(folder):
    done = trivmap("measure", "run", "--configurations", "hmc.h5:/twice", "-q", folder=folder)
    assert done.code == 0, done.err
    assert "not trusted: every observable: schwinger_dyson is 1 in every correct ensemble" in done.out
    assert "of other couplings, of a field with another normalization" in done.out


def test_the_bins_may_change_and_nothing_else(folder):
    done = trivmap("measure", "run", "--configurations", "hmc.npy", "--set", "measure.bins=40", "-q", folder=folder)
    assert done.code == 0, done.err
    assert "phi2" in done.out and "forward ESS" in done.out
    wrong = trivmap("measure", "run", "--configurations", "hmc.npy", "--set", "seed=1", "-q", folder=folder)
    assert wrong.code == 2 and "can change only keys that begin with measure." in wrong.err
    alone = trivmap("measure", "run", "--out", "own.json", folder=folder)
    assert alone.code == 2 and alone.err.startswith("trivmap: --out: goes with --configurations")


def test_forward_ess(folder):
    done = trivmap("forward-ess", "run", "hmc.h5:/cfg", "--json", "-q", folder=folder)
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert 0 < said["forward_ess"]["value"] < 1 and said["forward_ess"]["error"] > 0 and said["warning"] is None
    printed = trivmap("forward-ess", "run", "hmc.h5:/cfg", "-q", folder=folder).out
    assert printed.startswith("forward ESS 0.") and "of the run's own proposals 0." in printed
    wide = trivmap("forward-ess", "run", "hmc.h5:/twice", "-q", folder=folder).out
    assert "warning: the forward effective sample size is" in wide and "the map misses a part of exp(-S)" in wide


def test_the_chains_of_a_run_after_their_warmup(folder):
    made = trivmap("run", "card.yaml", "--out", "other", "-q", folder=folder)
    assert made.code == 0, made.err
    for command in (["measure", "run", "--configurations", "run"], ["forward-ess", "run", "run"]):
        own = trivmap(*command, folder=folder)
        assert own.code == 2 and "run: is the run itself, whose chain cannot judge it" in own.err
    done = trivmap("measure", "run", "--configurations", "other", "--json", "-q", folder=folder)
    assert done.code == 0, done.err
    said = json.loads(done.out)
    with SampleReader(folder / "other") as reader:
        skipped = -(-reader.warmup // 10)
        fields = reader["fields"][:, skipped:]
    assert skipped == 20 and said["shape"] == [2, 180, 4]
    phi2 = np.mean(fields.astype(np.float64) ** 2)
    assert said["observables"]["phi2"]["value"] == pytest.approx(phi2, rel=1e-6)
    assert said["map_untrusted"] is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("hmc.h5:/none", "hmc.h5: has no array none; known here: cfg, twice"),
        ("run/samples.h5", "run/samples.h5: belongs to the samples of a run"),
        ("run/samples/part-00000.h5:/fields", "run/samples/part-00000.h5: belongs to the samples of a run"),
        ("run/samples", "run/samples: is a folder and no run"),
        ("hmc.h5", "hmc.h5: has no array fields"),
    ],
)
def test_one_sentence(given, said, folder):
    done = trivmap("forward-ess", "run", given, folder=folder)
    assert done.code == 2 and done.err.startswith(f"trivmap: {said}") and done.err.count("\n") == 1


def test_the_table_has_the_error_of_tau_int(folder):
    done = trivmap("measure", "run", "--configurations", "hmc.h5:/cfg", "-q", folder=folder)
    (row,) = (line.split() for line in done.out.splitlines() if line.startswith("phi2 "))
    assert re.fullmatch(r"\d\.\d+\(\d+\)", row[2]), row
