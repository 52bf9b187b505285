"""Proposals that are drawn again and written for other programs: bit for bit those of the run."""

import json
import os

import h5py
import jax
import numpy as np
import pytest

import trivmap
from tests.oracles import ChainOracle
from tests.runs.conftest import EVEN
from tests.runs.small_run import copied
from tests.runs.support import RING, no_file_larger_than
from trivmap.cards.build import build_action
from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.loading import Run
from trivmap.runs import budget, pipeline, sampling
from trivmap.runs.export import export
from trivmap.store.files import write_json
from trivmap.store.samples import SampleReader


@pytest.fixture(params=["sampled", "even"])
def run(request):
    return request.getfixturevalue(request.param)


def stored(run, count):
    with SampleReader(run.root) as reader:
        names = ("log_weight", "accepted", "magnetization", "phi2")
        return {name: reader[name][:, :count] for name in names} | {"fields": reader["fields"]}


def test_the_proposals_are_those_of_the_run_in_every_bit(run, tmp_path):
    count = 1150
    made = export(run, tmp_path / "out.h5", 2 * count)
    assert made.compared == made.identical == 2 * count and made.largest_difference == 0
    samples, volume = stored(run, count), run.card().lattice[0]
    with h5py.File(made.path) as file:
        fields, log_weight = file["fields"][:], file["log_weight"][:]
    assert fields.shape == (2, count, volume) and np.all(np.isfinite(fields))
    np.testing.assert_array_equal(log_weight, samples["log_weight"])
    np.testing.assert_allclose(fields.mean(axis=-1), samples["magnetization"], atol=1e-6)
    np.testing.assert_allclose((fields**2).mean(axis=-1), samples["phi2"], rtol=1e-5)
    # The fields of the chain, which the run has stored, are its accepted proposals.
    last = np.maximum.accumulate(np.where(samples["accepted"], np.arange(count), -1), axis=1)[:, ::3]
    for chain in range(2):
        np.testing.assert_array_equal(fields[chain][last[chain]], samples["fields"][chain][: last.shape[1]])


def test_other_batches_agree_up_to_rounding(even, tmp_path):
    other = copied(even, tmp_path / "run")
    other.write_card(other.card().with_overrides(["sampling.batch=77"]))
    made = export(other, tmp_path / "out.h5", 2000)
    assert made.compared == 2000 and made.largest_difference < 1e-4


def test_the_weights_give_the_mean_of_the_target(even, tmp_path):
    made = Run(even).export(tmp_path / "out.npz", 6000)
    with np.load(made.path, allow_pickle=False) as file:
        fields, log_weight = file["fields"].reshape(6000, -1), file["log_weight"].ravel()
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.mean()
    values = np.mean(fields**2, axis=1)
    mean = np.mean(weight * values)
    error = np.std(weight * (values - mean)) / np.sqrt(6000)
    assert abs(mean - ChainOracle(8, *build_action(even.card()).coefficients).phi2) < 3.5 * error < 0.1


def test_facts_and_formats(sampled, tmp_path):
    paths = [tmp_path / f"out{suffix}" for suffix in (".h5", ".npz")]
    for path in paths:
        export(sampled, path, 100)
    with h5py.File(paths[0]) as file, np.load(paths[1], allow_pickle=False) as other:
        facts = json.loads(str(other["metadata"]))
        assert json.loads(file.attrs["action"]) == facts["action"] == {"kind": "free", "m_sq": 0.5}
        assert file.attrs["seed"] == facts["seed"] == 2 and list(file.attrs["lattice"]) == facts["lattice"] == [4]
        assert file.attrs["model"] == facts["model"] and "integral of exp(-S)" in facts["log_z"]
        assert list(file["fields"].attrs["dimensions"]) == facts["fields"]["dimensions"] == ["chain", "proposal", "x1"]
        assert [axis.label for axis in file["fields"].dims] == ["chain", "proposal", "x1"]
        assert file["log_weight"].attrs["definition"] == facts["log_weight"]["definition"]
        assert file.attrs.keys() == facts.keys() - {"fields", "log_weight"}
        for name in ("fields", "log_weight"):
            np.testing.assert_array_equal(file[name][:], other[name])
        assert file.attrs["certificate"] == "null" and json.loads(file.attrs["untrusted"]) == facts["untrusted"] == {}
    assert sorted(os.listdir(tmp_path)) == ["out.h5", "out.npz"]


def test_a_run_without_samples_exports_what_it_will_draw(trained, sampled, tmp_path):
    before = export(trained, tmp_path / "before.npz", 600)
    after = export(sampled, tmp_path / "after.npz", 600)
    assert (before.compared, before.largest_difference, before.untrusted) == (0, None, None) and after.identical == 600
    with np.load(before.path) as one, np.load(after.path) as other:
        for name in ("fields", "log_weight"):
            np.testing.assert_array_equal(one[name], other[name])
        assert json.loads(str(one["metadata"]))["untrusted"] is None


def test_more_than_are_stored(sampled, tmp_path):
    made = export(sampled, tmp_path / "out.npz", 3000)
    assert made.shape == (2, 1500, 4) and made.compared == made.identical == 2400


def test_annealed_proposals(tmp_path):
    data = {key: RING[key] for key in ("seed", "lattice", "action")}
    data["sampling"] = {"kind": "annealed", "steps": 4, "chains": 2, "proposals": 2000}
    run = pipeline.create(RunCard.from_data(data), tmp_path / "run")
    sampling.sample(run)
    made = export(run, tmp_path / "out.h5", 1000)
    assert made.identical == made.compared == 1000
    with h5py.File(made.path) as file:
        assert file["log_weight"].attrs["definition"].startswith("log w, E[w f] being")


def test_what_is_refused(sampled, tmp_path, monkeypatch):
    out = tmp_path / "out.h5"
    for count in (0, -2, 3):
        with pytest.raises(InputError, match="must be a multiple of the 2 chains"):
            export(sampled, out, count)
    with pytest.raises(InputError, match="has no known format"):
        export(sampled, tmp_path / "out.txt", 2)
    out.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        export(sampled, out, 2)
    assert out.read_text() == "mine"
    with pytest.raises(InputError, match="no is no directory"):
        export(sampled, tmp_path / "no" / "out.h5", 2)
    monkeypatch.setattr("trivmap.runs.export.free_disk", lambda path: 1000)
    with pytest.raises(InputError, match=r"will take 2\.4 kB, and 1 kB are free"):
        export(sampled, tmp_path / "new.h5", 100)
    assert sorted(os.listdir(tmp_path)) == ["out.h5"]
    assert budget.free_disk(tmp_path)


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_a_full_disk_leaves_nothing(suffix, sampled, tmp_path):
    with no_file_larger_than(20_000), pytest.raises(InputError, match="the file would exceed the size limit"):
        export(sampled, tmp_path / f"out{suffix}", 2400)
    assert os.listdir(tmp_path) == []


def test_samples_of_another_program_are_refused(sampled, tmp_path, monkeypatch):
    read = SampleReader.read
    monkeypatch.setattr(SampleReader, "read", lambda self, name, *rest: read(self, name, *rest) + 0.5)
    with pytest.raises(InputError, match="holds other proposals than this program draws"):
        export(sampled, tmp_path / "out.h5", 200)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("value", [0.5, np.nan])
@pytest.mark.parametrize("count", [2, 3])
def test_a_few_other_proposals_are_counted_and_more_are_refused(value, count, sampled, tmp_path, monkeypatch):
    read = SampleReader.read

    def spoiled(self, name, chain, start, stop):
        found = np.array(read(self, name, chain, start, stop))
        if chain == start == 0:
            found[:count] += value
        return found

    monkeypatch.setattr(SampleReader, "read", spoiled)
    if count > 2:
        with pytest.raises(InputError, match="3 of 200 log-weights differ"):
            export(sampled, tmp_path / "out.h5", 200)
    else:
        made = export(sampled, tmp_path / "out.h5", 200)
        assert (made.apart, made.identical) == (2, 198)
        assert made.largest_difference == (0.5 if value == 0.5 else np.inf)


def test_the_verdicts_of_the_run_are_in_the_file(even, tmp_path):
    run = copied(even, tmp_path / "run")
    run.update_summary(untrusted={"log_z": "too few", "probe": "it misses a mode", "phi2": "not of the weights"})
    noted = json.loads(run.certificate_path.read_text())
    made = export(run, tmp_path / "out.h5", 200)
    assert made.untrusted == {"log_z": "too few", "probe": "it misses a mode"}
    with h5py.File(made.path) as file:
        assert json.loads(file.attrs["untrusted"]) == made.untrusted
        assert json.loads(file.attrs["certificate"])["steps"] == noted["steps"]


def test_precision_of_the_session(tmp_path):
    """Without float64 in the session, the numbers are those with it, and a model of float64 is not rounded."""
    data = {key: value for key, value in EVEN.items() if key != "training"} | {"dtype": "float64"}
    run = Run(pipeline.create(RunCard.from_data(data), tmp_path / "run"))
    sampling.sample(run.directory)
    key, fields = jax.random.key(0), np.random.default_rng(0).normal(size=(2, 600, 8))
    expected = run.sample(key, 3), run.measure(fields), run.forward_ess(fields)
    fresh = Run(run.directory)
    with jax.enable_x64(False), jax.numpy_dtype_promotion("strict"):
        found = fresh.sample(key, 3), fresh.measure(fields), fresh.forward_ess(fields)
        made = fresh.export(tmp_path / "out.h5", 200)
        with pytest.raises(InputError, match="the model is float64"):
            _ = fresh.flow
    assert made.identical == 200
    np.testing.assert_array_equal(np.asarray(found[0].fields), np.asarray(expected[0].fields))
    assert found[0].log_weights.dtype == np.float64
    assert found[1].summary() == expected[1].summary() and found[2] == expected[2]


def test_a_map_without_a_right_certificate_gives_no_weights(even, tmp_path):
    run = copied(even, tmp_path / "run")
    noted = pipeline.read_certificate(run)
    fields = np.random.default_rng(0).normal(size=(2, 600, 8))
    uses = {
        "sample": lambda: Run(run).sample(jax.random.key(0), 2),
        "forward_ess": lambda: Run(run).forward_ess(fields),
        "program": lambda: Run(run).export_program(tmp_path / "map.npz"),
    }
    write_json(run.certificate_path, noted | {"passed": False})
    for use in uses.values():
        with pytest.raises(InputError, match=r"the integration error of .* steps is not negligible"):
            use()
    made = export(run, tmp_path / "out.h5", 200)
    assert "is not negligible" in made.untrusted["log_z"]
    for change in (lambda: write_json(run.certificate_path, noted | {"model": "0"}), run.certificate_path.unlink):
        change()
        for use in uses.values():
            with pytest.raises(InputError, match="the integration error of its map is not measured yet"):
                use()
    # An ensemble's own observables do not need the map.
    assert Run(run).measure(fields).info["configurations"] == 1200


def test_chains_have_no_proposals(tmp_path):
    data = {key: RING[key] for key in ("seed", "lattice", "action")} | {"sampling": {"kind": "hmc", "proposals": 320}}
    run = pipeline.create(RunCard.from_data(data), tmp_path / "run")
    with pytest.raises(InputError, match="was sampled by hmc, whose steps cannot be drawn again"):
        trivmap.load(run.root).export(tmp_path / "out.h5", 320)


def test_the_datasets_of_samples_say_what_they_are(even):
    with h5py.File(even.samples_path) as file:
        found = {name: dict(file[name].attrs) for name in ("log_weight", "accepted", "fields")}
        found |= {name: dict(each.attrs) for name, each in file["observables"].items()}
        shapes = {name: file[name].ndim for name in ("log_weight", "accepted", "fields")}
        shapes |= {name: each.ndim for name, each in file["observables"].items()}
    assert {name: len(each["dimensions"]) for name, each in found.items()} == shapes
    assert list(found["fields"]["dimensions"]) == ["chain", "kept step", "x1"]
    assert list(found["correlator"]["dimensions"]) == ["chain", "proposal", "t"]
    assert found["phi2"]["definition"] == "phi2, whose mean is ⟨φ²⟩, of the field of each proposal"
    assert found["log_weight"]["definition"].startswith("log w = -S - log q")
