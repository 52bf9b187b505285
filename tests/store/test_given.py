"""Configurations of the user's own are read as they are, and what is no such file is one sentence."""

import os
import tracemalloc

import h5py
import numpy as np
import pytest

from trivmap.errors import InputError
from trivmap.store.given import opened

FIELDS = np.arange(60, dtype=np.float64).reshape(5, 3, 4) / 7


@pytest.fixture
def folder(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["fields"] = FIELDS
        file["log_weight"] = np.zeros(5)
        file.create_dataset("deep/packed", data=FIELDS, compression="gzip", chunks=(2, 3, 4))
        file.create_dataset("deep/big_endian", data=FIELDS.astype(">f4"))
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["ensemble/cfg"] = FIELDS
    np.savez(tmp_path / "a.npz", fields=FIELDS, other=2 * FIELDS)
    np.savez_compressed(tmp_path / "one.npz", cfg=FIELDS)
    np.savez(tmp_path / "single.npz", fields=FIELDS.astype(">f4"))
    np.save(tmp_path / "a.npy", FIELDS)
    (tmp_path / "link.npy").symlink_to("a.npy")
    return tmp_path


HDF5 = ["a.h5", "a.h5:/fields", "a.h5:fields", "a.h5:/deep/packed", "a.h5:/deep/big_endian"]
HDF5 += ["one.h5", "one.h5:/ensemble/cfg"]
NUMPY = ["a.npz", "a.npz:fields", "one.npz", "single.npz", "a.npy", "link.npy"]


@pytest.mark.parametrize("name", HDF5 + NUMPY)
def test_what_is_there(name, folder):
    with opened(str(folder / name)) as given:
        assert given.shape == FIELDS.shape and given.dtype.kind == "f"
        np.testing.assert_allclose(given[1:3], FIELDS[1:3], rtol=1e-6)
        np.testing.assert_allclose(given[4, 1:], FIELDS[4, 1:], rtol=1e-6)
        np.testing.assert_allclose(given[0:2], FIELDS[0:2], rtol=1e-6)


def test_an_archive_is_not_read_at_once(folder):
    np.savez_compressed(folder / "large.npz", fields=np.zeros((4000, 64, 64)))
    tracemalloc.start()
    try:
        with opened(str(folder / "large.npz")) as given:
            assert given[3990:4000].shape == (10, 64, 64)
        # All fields are 131 MB; the standard library seeks in steps of 16 MiB.
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()


def test_a_name_with_a_colon(folder):
    os.rename(folder / "a.npy", folder / "beta:0.5.npy")
    with opened(str(folder / "beta:0.5.npy")) as given:
        assert given.shape == FIELDS.shape


def spoil(folder, name):
    path = folder / name
    match name:
        case "pipe.h5":
            os.mkfifo(path)
        case "folder.h5":
            path.mkdir()
        case "circle.h5":
            path.symlink_to("circle.h5")
        case "text.h5":
            path.write_text("no numbers")
        case "short.h5":
            path.write_bytes((folder / "a.h5").read_bytes()[:3000])
        case "short.npy":
            path.write_bytes((folder / "a.npy").read_bytes()[:300])
        case "short.npz":
            path.write_bytes((folder / "a.npz").read_bytes()[:300])
        case "objects.npy":
            np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
        case "objects.npz":
            np.savez(path, fields=np.array([{"a": 1}], dtype=object))
        case "fortran.npz":
            np.savez(path, fields=np.asfortranarray(FIELDS))
        case "part.h5":
            with h5py.File(path, "w") as file:
                file.attrs.update(history="chain", kind="hmc", chains=2, generator="g")
                file["fields"] = FIELDS
        case "empty.h5":
            with h5py.File(path, "w") as file:
                file.create_dataset("fields", (5, 3, 4), "f8")
        case "hole.h5":
            with h5py.File(path, "w") as file:
                file.create_dataset("fields", (5, 3, 4), "f8", chunks=(1, 3, 4))[:3] = 1.0
        case "virtual.h5":
            layout = h5py.VirtualLayout((5, 3, 4), "f8")
            layout[:] = h5py.VirtualSource("a.h5", "fields", (5, 3, 4))
            with h5py.File(path, "w") as file:
                file.create_virtual_dataset("fields", layout)
        case "outside.h5":
            with h5py.File(path, "w") as file:
                file["fields"] = h5py.ExternalLink("a.h5", "fields")
        case "proposals.h5":
            with h5py.File(path, "w") as file:
                file.attrs["ensemble"] = "independent proposals"
                file["fields"] = FIELDS
        case "proposals.npz":
            np.savez(path, fields=FIELDS, metadata='{"ensemble": "independent proposals"}')


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.h5", "cannot be read (No such file or directory)"),
        ("a.h5:/field", "has no array field; did you mean fields?"),
        ("a.npz:/c", "has no array c; known here: fields, other"),
        ("a.npy:/fields", "holds one array without a name"),
        ("pipe.h5", "is a pipe, a socket or a device"),
        ("folder.h5", "is a folder and no run"),
        ("circle.h5", "cannot be read (Too many levels of symbolic links)"),
        ("text.h5", "is no file of HDF5, .npy or .npz"),
        ("short.h5", "is truncated, damaged"),
        ("short.npy", "is truncated, damaged"),
        ("short.npz", "is truncated, damaged"),
        ("objects.npy", "or holds no plain numbers"),
        ("objects.npz", "or holds no plain numbers"),
        ("fortran.npz", "store numpy.ascontiguousarray of the array"),
        ("part.h5", "belongs to the samples of a run"),
        ("empty.h5", "is not whole, HDF5 would fill it with zeros"),
        ("hole.h5", "is not whole, HDF5 would fill it with zeros"),
        ("virtual.h5", "is a view of other files"),
        ("outside.h5:/fields", "is a link, which trivmap does not follow"),
        ("proposals.h5", "holds proposals, as trivmap export writes them"),
        ("proposals.npz", "holds proposals, as trivmap export writes them"),
    ],
)
def test_what_is_refused(name, message, folder):
    spoil(folder, name.partition(":")[0])
    with pytest.raises(InputError) as error, opened(str(folder / name)):
        pass
    assert message in str(error.value) and str(error.value).startswith(str(folder / name.partition(":")[0]))
