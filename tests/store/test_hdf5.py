import os

import h5py
import numpy as np
import pytest

from trivmap.errors import InputError
from trivmap.store.hdf5 import open_hdf5, sum_of_chunks, sum_of_content


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["plain"] = np.arange(6.0)
        file.create_dataset("inner/cut", data=np.arange(40.0).reshape(4, 10), chunks=(1, 4), fletcher32=True)
        file["inner/empty"] = np.zeros((2, 0))
        file["inner/one"] = 3
    return path


def alter(path, change):
    with h5py.File(path, "a") as file:
        change(file)


def test_what_is_whole(path):
    # A second name of the same group is no way out of the file, and no way to go round for ever.
    alter(path, lambda file: file.__setitem__("inner/again", file["inner"]))
    with open_hdf5(path) as file:
        assert file["inner/cut"][3, 9] == 39


def link(file, target):
    file["inner/x"] = h5py.ExternalLink(target, "/plain")


def soft(file, target):
    file["inner/x"] = h5py.SoftLink("/plain")


def group(file, target):
    file["outer"] = h5py.ExternalLink(target, "/inner")


def raw(file, target):
    file.create_dataset("inner/x", (4,), "f8", external=[(target, 0, h5py.h5f.UNLIMITED)])


def virtual(file, target):
    layout = h5py.VirtualLayout((4,), "f8", maxshape=(None,))
    layout[: h5py.h5s.UNLIMITED] = h5py.VirtualSource(target, "plain", (4,), "f8", maxshape=(None,))[
        : h5py.h5s.UNLIMITED
    ]
    file.create_virtual_dataset("inner/x", layout)


@pytest.mark.parametrize("way", [link, soft, group, raw, virtual])
@pytest.mark.parametrize("pipe", [False, True])
def test_no_way_out_of_the_file(path, tmp_path, way, pipe):
    other = tmp_path / "other"
    if pipe:
        # Whoever opens it waits for ever.
        os.mkfifo(other)
    else:
        other.write_bytes(path.read_bytes())
    alter(path, lambda file: way(file, str(other)))
    with pytest.raises(InputError) as caught:
        open_hdf5(path)
    name = "outer" if way is group else "inner/x"
    assert str(caught.value) == (
        f"{path}: '{name}' is a link or lies in another file, which trivmap does not follow here; put the data "
        "themselves in its place"
    )


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (None, {"shape": (2, 10**13), "dtype": "f8", "chunks": (1, 10**6)}),
        (None, {"shape": (10,), "dtype": "f8"}),
        (np.zeros(10**6), {"compression": "gzip"}),
        (["a", "b"], {}),
        (h5py.Empty("f8"), {}),
    ],
)
def test_no_more_than_is_stored(path, values, options):
    alter(path, lambda file: file.create_dataset("inner/x", data=values, **options))
    with pytest.raises(OSError, match=r"inner/x|NoneType"):
        open_hdf5(path)


def test_no_types(path):
    alter(path, lambda file: file.__setitem__("kind", np.dtype("f8")))
    with pytest.raises(OSError, match="'kind' is neither a group nor a dataset"):
        open_hdf5(path)


class TestSums:
    def both(self, path):
        content = path.read_bytes()
        with h5py.File(path) as file:
            names = ("plain", "inner/cut", "inner/empty")
            datasets = {name: file[name] for name in names}
            return sum_of_chunks(datasets, lambda start, count: content[start : start + count]), sum_of_content(file)

    def test_numbers(self, path):
        before = self.both(path)
        assert self.both(path) == before

        def change(file):
            file["inner/cut"][2, 5] += 1e-9

        alter(path, change)
        assert all(a != b for a, b in zip(before, self.both(path), strict=True))

    def test_content(self, path):
        _, before = self.both(path)

        def attribute(file):
            file.attrs["a"] = 1

        def number(file):
            file["plain"][0] = 1

        def name(file):
            file["inner"].move("one", "two")

        whole = path.read_bytes()
        for change in (attribute, number, name):
            alter(path, change)
            assert self.both(path)[1] != before
            path.write_bytes(whole)
