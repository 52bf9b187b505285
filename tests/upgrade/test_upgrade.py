"""A run that an older version made is read, measured again and continued."""

import hashlib
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import trivmap
from tests.runs.support import contents
from tests.runs.support import trivmap as command

HERE = Path(__file__).resolve().parent
VERSIONS = sorted(path.parent.name for path in HERE.glob("*/SHA256SUMS"))
LARGEST = 150_000


@pytest.fixture(params=VERSIONS)
def kept(request):
    """The folder of a version."""
    return HERE / request.param


@pytest.fixture
def copy(kept, tmp_path):
    """A copy of the run, which a command may lock and write in."""
    return shutil.copytree(kept / "run", tmp_path / "run")


def numbers(run):
    summary = json.loads((run / "summary.json").read_text())
    return {key: summary[key] for key in ("observables", "log_z")} | {"untrusted": sorted(summary["untrusted"])}


def assert_same(found, expected):
    """Equal numbers up to rounding, under the same names; a later version may add some."""
    if isinstance(expected, dict):
        assert found.keys() >= expected.keys()
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-8, abs=1e-12)
    else:
        assert found == expected


def test_there_is_a_run():
    assert "0.1.0" in VERSIONS


def test_files_are_as_they_were_written(kept):
    sums = dict(reversed(line.split("  ")) for line in (kept / "SHA256SUMS").read_text().splitlines())
    files = contents(kept / "run")
    # A command that is given in the folder itself leaves its lock.
    files.pop(".lock", None)
    assert {f"run/{name}": digest for name, digest in files.items()} == sums
    assert sum((kept / name).stat().st_size for name in sums) < LARGEST
    assert all(len(digest) == hashlib.sha256().digest_size * 2 for digest in sums.values())


def test_run_is_loaded(kept, copy):
    run = trivmap.load(copy)
    assert json.loads((copy / "environment.json").read_text())["versions"]["trivmap"] == kept.name
    assert [record["step"] for record in run.metrics][-1] == run.summary["training"]["steps"]
    for name, estimate in run.summary["observables"].items():
        shown = run.results.reweighted if estimate["source"] == "reweighted" else run.results
        assert shown[name].value == pytest.approx(estimate["value"], rel=1e-12)
    assert len(run.stages.stages) == len(json.loads((copy / "stages.json").read_text())["stages"])


def test_map_gives_the_weights_that_were_stored(copy):
    """The stored log-weights of configurations, computed again with the map and the action."""
    import h5py

    run = trivmap.load(copy)
    (part,) = (copy / "samples").glob("*.h5")
    with h5py.File(part) as file:
        fields, weights = file["state/fields"][:], file["state/log_weight"][:]
    again = -jax.vmap(run.action)(fields) - jax.vmap(run.flow.log_density)(fields)
    np.testing.assert_allclose(np.asarray(again).ravel(), weights.ravel(), rtol=1e-10)


def test_samples_are_read(copy):
    run = trivmap.load(copy)
    samples, sampling = run.samples, run.summary["sampling"]
    weights = samples["log_weight"]
    assert weights.shape == (sampling["chains"], sampling["proposals"] // sampling["chains"])
    assert np.isfinite(weights).all()
    assert samples["accepted"][:, samples.warmup :].mean() == pytest.approx(sampling["accepted_fraction"], abs=0.05)


def test_show_prints_it(copy):
    before = contents(copy)
    steps = trivmap.load(copy).summary["training"]["steps"]
    done = command("show", copy, folder=copy.parent)
    assert done.code == 0, done.err
    assert f"{steps} of {steps} steps" in done.out and "susceptibility" in done.out
    assert contents(copy) == before


def test_measure_gives_the_same_numbers(copy):
    expected = numbers(copy)
    done = command("measure", copy, folder=copy.parent)
    assert done.code == 0, done.err
    assert_same(numbers(copy), expected)


def test_resume_has_nothing_to_do(copy):
    lasting = ("checkpoints/", "model/", "samples/", "config.yaml", "environment.json", "metrics.jsonl")
    before, expected = contents(copy), numbers(copy)
    done = command("run", "--resume", copy, folder=copy.parent)
    assert done.code == 0, done.err
    after = contents(copy)
    assert {name: digest for name, digest in after.items() if name.startswith(lasting)} == {
        name: digest for name, digest in before.items() if name.startswith(lasting)
    }
    assert_same(numbers(copy), expected)
