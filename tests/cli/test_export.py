"""What `trivmap export` makes and says."""

import json

import h5py
import numpy as np

from tests.runs.support import contents, trivmap


def test_one_file_with_everything(copy):
    before = contents(copy / "run")
    done = trivmap("export", "run", "--fields", 400, "--json", folder=copy)
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["path"] == "run/fields.h5" and said["shape"] == [2, 200, 4]
    assert said["compared"] == said["identical"] == 400
    assert {name: text for name, text in contents(copy / "run").items() if name != "fields.h5"} == before
    with h5py.File(copy / "run" / "fields.h5") as file, h5py.File(copy / "run" / "samples.h5") as samples:
        np.testing.assert_array_equal(file["log_weight"][:], samples["log_weight"][:, :200])
        assert json.loads(file.attrs["action"])["beta"] == 0.5
    again = trivmap("export", "run", "--fields", 400, folder=copy)
    assert again.code == 2 and "run/fields.h5: exists already" in again.err and again.err.count("\n") == 1, again.err


def test_fields_without_weights_are_refused(copy):
    bare = trivmap("export", "run", "--fields", 400, "--out", "a.npy", folder=copy)
    assert bare.code == 2 and "a.npy: has no known format; let the name of the file end in .h5, .hdf5, .npz" in bare.err
    done = trivmap("export", "run", "--fields", 400, "--out", "a.npz", folder=copy)
    assert done.code == 0, done.err
    assert "a.npz: fields of shape [2, 200, 4], float32\n400 of 400 log-weights are those of samples.h5" in done.out
    wrong = trivmap("export", "run", "--fields", 3, "--out", "b.h5", folder=copy)
    assert wrong.code == 2 and wrong.err.startswith("trivmap: --fields: must be a multiple of the 2 chains")


def test_a_program(copy):
    done = trivmap("export", "run", "--program", "map.npz", "--json", folder=copy)
    assert done.code == 0, done.err
    said = json.loads(done.out)["program"]
    assert said["path"] == "map.npz" and said["action"]["beta"] == 0.5 and said["platforms"] == ["cpu", "cuda"]
    assert np.load(copy / "map.npz", allow_pickle=False).files == ["metadata", "sample", "density"]
    printed = trivmap("export", "run", "--program", "b.npz", "--fields", 20, "--out", "b.h5", folder=copy).out
    assert "b.h5: fields of shape [2, 10, 4]" in printed
    assert printed.endswith("b.npz: functions sample and density, for cpu and cuda\n")
    for wrong in ([], ["--out", "c.h5"], ["--program", "c.npz", "--out", "c.h5"]):
        refused = trivmap("export", "run", *wrong, folder=copy)
        assert refused.code == 2 and refused.err.startswith("trivmap: --fields: say how many configurations to write")
