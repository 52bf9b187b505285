import h5py
import numpy as np
import pytest

from trivmap.diagnostics.integration_error import Level
from trivmap.errors import InputError
from trivmap.store.levels import read_levels, write_levels
from trivmap.trust import trusting


@pytest.fixture
def path(tmp_path):
    path, random = tmp_path / "integration.h5", np.random.default_rng(0)
    write_levels(
        path,
        [
            Level(
                steps, random.normal(size=n), {"phi2": random.normal(size=n), "correlator": random.normal(size=(n, 3))}
            )
            for steps, n in ((4, 30), (8, 20))
        ],
        "abc",
    )
    return path


def alter(path, change):
    with h5py.File(path, "a") as file:
        change(file)


def number(file):
    file["8/observables/phi2"][3] += 1e-6


def model(file):
    file.attrs["model"] = "abd"


def name(file):
    file.move("8", "16")


def test_back_again(path):
    coarse, fine = read_levels(path, "abc")
    assert (coarse.steps, fine.steps, fine.observables["correlator"].shape) == (4, 8, (20, 3))
    assert read_levels(path, "other") == []


@pytest.mark.parametrize("change", [number, model, name])
def test_an_altered_file(path, change):
    alter(path, change)
    with pytest.raises(InputError) as caught:
        read_levels(path, "abc")
    assert str(caught.value) == (
        f"{path}: was altered, its checksum does not fit; delete it and run trivmap sample {path.parent}, which "
        "measures it again, or trust it as it is with --trust"
    )
    with trusting():
        read_levels(path, "abc")


def test_every_flipped_bit_that_changes_anything_is_seen(path):
    content, whole = path.read_bytes(), read_levels(path, "abc")
    for place in range(0, len(content), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 8]) + content[place + 1 :])
        try:
            found = read_levels(path, "abc")
        except InputError:
            continue
        for before, after in zip(whole, found, strict=True):
            assert before.steps == after.steps
            assert np.array_equal(before.log_weight, after.log_weight)
            assert all(np.array_equal(before.observables[key], after.observables[key]) for key in before.observables)


def test_a_file_of_an_older_version(path):
    alter(path, lambda file: file.attrs.__delitem__("sha256"))
    assert len(read_levels(path, "abc")) == 2


def replaced(name, value):
    def change(file):
        del file.attrs["sha256"], file[name]
        if value is not None:
            file[name] = value

    return change


def a_group(file):
    replaced("4/observables/phi2", None)(file)
    file.create_group("4/observables/phi2")


@pytest.mark.parametrize(
    "change",
    [
        replaced("4", np.zeros(30)),
        replaced("4/observables", np.zeros(30)),
        replaced("4/log_weight", np.zeros(3)),
        replaced("4/log_weight", ["a"] * 30),
        replaced("4/log_weight", 1.0),
        replaced("4/log_weight", None),
        replaced("4/observables/phi2", 1.0),
        a_group,
        lambda file: file.__setitem__("x", 1.0),
    ],
)
def test_another_shape(path, change):
    alter(path, change)
    with trusting(), pytest.raises(InputError) as caught:
        read_levels(path, "abc")
    again = f"delete it and run trivmap sample {path.parent}, which measures it again"
    assert str(caught.value) == f"{path}: is damaged; {again}"
