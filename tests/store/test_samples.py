import errno
import os
import resource
import shutil

import h5py
import numpy as np
import pytest

from tests.runs.support import contents, kill_while_working, no_file_larger_than
from trivmap.errors import InputError
from trivmap.store.files import write_json
from trivmap.store.samples import SampleReader, SampleWriter
from trivmap.trust import trusting

ATTRIBUTES = {
    "kind": "flow",
    "history": "proposals",
    "chains": 3,
    "proposals": 300,
    "warmup": 5,
    "thin": 2,
    "lattice": [4, 4],
    "seed": 7,
    "model": "abcd",
}
COUNTS = (40, 25, 35)


def drawn(start, count, fields=False):
    """Steps start ... start + count - 1, a function of chain and step alone, as every proposal is."""
    chain, step = np.meshgrid(np.arange(3), np.arange(start, start + count), indexing="ij")
    values = 1000.0 * chain + step
    kept = values[:, (-start) % 2 :: 2]
    return {
        "log_weight": values / 7,
        "accepted": (values % 3) == 0,
        "observables": {
            "magnetization": values.astype(np.float32),
            "two_point": (values[..., None] + np.arange(6)).astype(np.float32),
            "momentum_two_point": values[..., None] / np.arange(3, 5),
        },
        "fields": (kept[..., None, None] + np.zeros((4, 4))).astype(np.float32) if fields else None,
    }


def write(root, counts=COUNTS, fields=False, **attributes):
    root.mkdir(exist_ok=True)
    writer = SampleWriter(root, ATTRIBUTES | attributes)
    for count in counts:
        start = writer.completed
        writer.append(**drawn(start, count, fields), state={"last": np.arange(3.0) + start, "index": [start, 1, 2]})
    return writer


def test_written_in_parts_read_as_one(tmp_path):
    writer = write(tmp_path)
    assert writer.completed == 100
    whole = drawn(0, 100)
    with SampleReader(tmp_path) as reader:
        assert (reader.chains, reader.n, reader.warmup) == (3, 100, 5)
        assert reader.attrs["lattice"] == [4, 4]
        assert reader.attrs["kind"] == "flow"
        assert reader.names == ["magnetization", "momentum_two_point", "two_point"]
        assert "log_weight" in reader
        assert "fields" not in reader
        for name in ("log_weight", "accepted"):
            for start, stop in [(0, 100), (38, 42), (39, 40), (64, 66), (99, 200), (10, 10)]:
                got = reader.read(name, 1, start, stop)
                assert got.dtype == whole[name].dtype
                assert np.array_equal(got, whole[name][1, start:stop])
        for name, values in whole["observables"].items():
            got = reader.read(name, 2, 30, 70)
            assert got.dtype == values.dtype
            assert np.array_equal(got, values[2, 30:70])
        assert reader.read("two_point", 0, 50, 50).shape == (0, 6)


def test_one_file_for_other_tools_wherever_it_is_moved(tmp_path, monkeypatch):
    write(tmp_path / "run", fields=True)
    (tmp_path / "run").rename(tmp_path / "moved")
    monkeypatch.chdir("/")
    whole = drawn(0, 100, fields=True)
    with h5py.File(tmp_path / "moved" / "samples.h5") as file:
        assert np.array_equal(file["log_weight"][()], whole["log_weight"])
        assert np.array_equal(file["accepted"][()], whole["accepted"])
        assert file["accepted"].dtype == bool
        assert np.array_equal(file["observables/two_point"][()], whole["observables"]["two_point"])
        assert np.array_equal(file["fields"][()], whole["fields"])
        assert file.attrs["chains"] == 3
        assert file.attrs["parts"] == 3
        assert file.attrs["schema"] == 1


def test_fields_are_thinned(tmp_path):
    write(tmp_path, fields=True)
    with SampleReader(tmp_path) as reader:
        assert reader.length("fields") == 50
        assert reader.length("accepted") == 100
        assert np.array_equal(reader.read("fields", 1, 15, 25), drawn(0, 100, fields=True)["fields"][1, 15:25])


def test_a_part_without_kept_fields(tmp_path):
    write(tmp_path, counts=(1, 1, 1), fields=True)
    with SampleReader(tmp_path) as reader:
        assert np.array_equal(reader.read("fields", 2, 0, 9)[:, 0, 0], [2000, 2002])


def test_chains_without_weights(tmp_path):
    writer = SampleWriter(tmp_path, ATTRIBUTES | {"kind": "hmc", "history": "chain"})
    part = drawn(0, 10)
    writer.append(accepted=part["accepted"], observables=part["observables"])
    with SampleReader(tmp_path) as reader:
        assert "log_weight" not in reader
        assert reader.read("magnetization", 1, 3, 4) == 1003


def test_resumed_where_it_stopped(tmp_path):
    write(tmp_path / "whole")
    write(tmp_path / "halves", counts=COUNTS[:1])
    writer = SampleWriter(tmp_path / "halves", ATTRIBUTES | {"proposals": 600, "warmup": 10})
    assert writer.completed == 40
    assert np.array_equal(writer.state["last"], np.arange(3.0))
    assert writer.state["last"].dtype == np.float64
    assert writer.state["index"] == [0, 1, 2]
    for count in COUNTS[1:]:
        start = writer.completed
        writer.append(**drawn(start, count), state={"last": np.arange(3.0) + start, "index": [start, 1, 2]})
    halves, whole = contents(tmp_path / "halves"), contents(tmp_path / "whole")
    assert {k: v for k, v in halves.items() if k != "samples.h5"} == {
        k: v for k, v in whole.items() if k != "samples.h5"
    }
    with SampleReader(tmp_path / "halves") as reader:
        assert reader.attrs["proposals"] == 600
        assert reader.warmup == 10
        assert reader.n == 100


def test_nothing_drawn_yet(tmp_path):
    writer = SampleWriter(tmp_path, ATTRIBUTES)
    assert (writer.completed, writer.state) == (0, {})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError) as caught:
        SampleReader(tmp_path)
    assert str(caught.value) == f"{tmp_path}: has no samples yet; run trivmap sample {tmp_path}"


@pytest.mark.parametrize(("name", "value"), [("seed", 8), ("chains", 4), ("lattice", [4, 6]), ("model", "other")])
def test_samples_of_another_run_are_not_continued(tmp_path, name, value):
    write(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(InputError) as caught:
        SampleWriter(tmp_path, ATTRIBUTES | {name: value})
    assert f"was drawn with {name} = {ATTRIBUTES[name]}, the run now has {value}" in str(caught.value)
    assert contents(tmp_path) == before


def test_a_truncated_index_is_refused_and_made_again(tmp_path):
    write(tmp_path)
    index = tmp_path / "samples.h5"
    whole = index.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", whole[:100], None):
        index.unlink(missing_ok=True)
        if damaged is not None:
            index.write_bytes(damaged)
        before = contents(tmp_path)
        with pytest.raises(InputError) as caught:
            SampleReader(tmp_path)
        state = "is missing" if damaged is None else "is truncated or damaged"
        assert str(caught.value) == (
            f"{index}: {state}; run trivmap sample {tmp_path}, which makes it again from the parts in samples/"
        )
        assert contents(tmp_path) == before
        SampleWriter(tmp_path, ATTRIBUTES)
        with SampleReader(tmp_path) as reader:
            assert reader.n == 100


@pytest.mark.parametrize("opened", [SampleReader, lambda root: SampleWriter(root, ATTRIBUTES)])
@pytest.mark.parametrize("size", [0, 50, 3000, -1])
def test_a_truncated_part_is_named_and_the_others_kept(tmp_path, opened, size):
    write(tmp_path)
    path = tmp_path / "samples" / "part-00001.h5"
    path.write_bytes(path.read_bytes()[:size])
    before = contents(tmp_path)
    with pytest.raises(InputError) as caught:
        opened(tmp_path)
    assert str(caught.value) == (
        f"{path}: is truncated or damaged; move it and the later parts away and run trivmap sample {tmp_path}, which "
        "draws the same proposals again"
    )
    assert contents(tmp_path) == before
    # What the sentence says works.
    path.unlink()
    (tmp_path / "samples" / "part-00002.h5").unlink()
    writer = SampleWriter(tmp_path, ATTRIBUTES)
    assert writer.completed == 40
    for count in COUNTS[1:]:
        start = writer.completed
        writer.append(**drawn(start, count), state={"last": np.arange(3.0) + start, "index": [start, 1, 2]})
    with SampleReader(tmp_path) as reader:
        assert np.array_equal(reader.read("log_weight", 2, 0, 100), drawn(0, 100)["log_weight"][2])


def test_an_altered_number_is_seen_when_it_is_read(tmp_path):
    write(tmp_path)
    path = tmp_path / "samples" / "part-00001.h5"
    content = bytearray(path.read_bytes())
    where = bytes(content).find(drawn(40, 25)["log_weight"][1].tobytes())
    assert where > 0
    content[where] ^= 1
    path.write_bytes(content)
    with SampleReader(tmp_path) as reader:
        assert reader.read("log_weight", 0, 40, 65).shape == (25,)
        with pytest.raises(InputError, match=r"part-00001\.h5: is truncated or damaged"):
            reader.read("log_weight", 1, 0, 100)


def test_a_missing_part(tmp_path):
    write(tmp_path)
    (tmp_path / "samples" / "part-00002.h5").rename(tmp_path / "kept")
    with pytest.raises(InputError, match=r"part-00002\.h5: is missing; put it back"):
        SampleReader(tmp_path)
    (tmp_path / "samples" / "part-00000.h5").unlink()
    with pytest.raises(InputError, match=r"part-00000\.h5: is missing while later parts are there"):
        SampleReader(tmp_path)


def test_parts_that_do_not_belong_together(tmp_path):
    for name, seed in (("a", 7), ("b", 8)):
        write(tmp_path / name, seed=seed)
    stranger = tmp_path / "a" / "samples" / "part-00001.h5"
    stranger.write_bytes((tmp_path / "b" / "samples" / "part-00001.h5").read_bytes())
    with pytest.raises(InputError, match=r"part-00001\.h5: does not continue the part before it"):
        SampleReader(tmp_path / "a")


def test_parts_of_another_run_are_not_read(tmp_path):
    write(tmp_path / "own")
    write(tmp_path / "other", seed=8)
    shutil.rmtree(tmp_path / "own" / "samples")
    shutil.copytree(tmp_path / "other" / "samples", tmp_path / "own" / "samples")
    with pytest.raises(InputError, match=r"part-00000.h5: was drawn with seed = 8, not with 7"):
        SampleReader(tmp_path / "own")


def test_a_newer_part(tmp_path):
    write(tmp_path)
    path = tmp_path / "samples" / "part-00001.h5"
    with h5py.File(path, "a") as file:
        file.attrs["schema"] = 2
    with pytest.raises(
        InputError, match=r"part-00001\.h5: schema 2 is newer than this trivmap, which reads 1: upgrade"
    ):
        SampleReader(tmp_path)


def test_a_full_disk_spoils_no_part(tmp_path):
    writer = write(tmp_path)
    before = contents(tmp_path)
    with no_file_larger_than(20_000), pytest.raises(InputError) as caught:
        writer.append(**drawn(100, 5000))
    assert str(caught.value) == (
        f"{tmp_path / 'samples' / 'part-00003.h5'}: the file would exceed the size limit; nothing written before was "
        "lost, make room and resume the run"
    )
    assert contents(tmp_path) == before
    assert writer.completed == 100
    writer.append(**drawn(100, 5000))
    with SampleReader(tmp_path) as reader:
        assert reader.n == 5100


def test_a_full_disk_for_real(small_disk):
    writer = SampleWriter(small_disk, ATTRIBUTES)
    for _ in range(4):
        writer.append(**drawn(writer.completed, 500))
    with pytest.raises(InputError, match=r"part-00004\.h5: the disk is full; nothing written before was lost"):
        writer.append(**drawn(2000, 10_000))
    assert writer.completed == 2000
    assert SampleWriter(small_disk, ATTRIBUTES).completed == writer.completed
    for path in small_disk.iterdir():
        assert path.name in ("samples", "samples.h5")
    with SampleReader(small_disk) as reader:
        assert np.array_equal(reader.read("log_weight", 1, 0, reader.n), drawn(0, reader.n)["log_weight"][1])


def test_wrong_shapes_are_a_defect_of_the_caller(tmp_path):
    writer = SampleWriter(tmp_path, ATTRIBUTES)
    part = drawn(0, 10)
    with pytest.raises(
        ValueError, match=r"log_weight has leading axes \(3, 9\), expected \(chains, count\) = \(3, 10\)"
    ):
        writer.append(accepted=part["accepted"], observables={}, log_weight=part["log_weight"][:, 1:])


def write_for_ever(folder, announce):
    writer = SampleWriter(folder, ATTRIBUTES)
    while True:
        start = writer.completed
        writer.append(**drawn(start, 50), state={"next": start + 50})
        announce(writer.completed)


@pytest.mark.parametrize("delay", [0.0, 0.009, 0.031])
def test_a_kill_at_any_moment_loses_at_most_the_part_being_written(tmp_path, delay):
    for _ in range(2):
        announced = kill_while_working(write_for_ever, tmp_path, delay)
        writer = SampleWriter(tmp_path, ATTRIBUTES)
        assert writer.completed in (announced, announced + 50)
        assert writer.state == {"next": writer.completed}
        with SampleReader(tmp_path) as reader:
            assert reader.n == writer.completed
            assert np.array_equal(reader.read("log_weight", 1, 0, reader.n), drawn(0, reader.n)["log_weight"][1])


def test_memory_stays_that_of_one_part(tmp_path):
    """200 MB through parts of 10 MB: the process grows by a few parts, writing and reading."""
    attributes = ATTRIBUTES | {"chains": 1, "lattice": [32, 32]}
    values = np.random.default_rng(0).normal(size=(1, 2500, 1024)).astype(np.float32)
    accepted = np.ones((1, 2500), bool)

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    writer = SampleWriter(tmp_path, attributes)
    writer.append(accepted=accepted, observables={"x": values})
    before = peak()
    for _ in range(19):
        writer.append(accepted=accepted, observables={"x": values})
    total = 0.0
    with SampleReader(tmp_path) as reader:
        for start in range(0, reader.n, 1000):
            total += float(reader.read("x", 0, start, start + 1000).sum(dtype=np.float64))
    assert total == pytest.approx(20 * values.sum(dtype=np.float64), rel=1e-9)
    assert peak() - before < 60


class TestChecksums:
    """Of what HDF5 itself keeps none of: attributes, and the state that chains continue from."""

    def alter(self, path, change):
        with h5py.File(path, "a") as file:
            change(file)

    def test_of_the_state(self, tmp_path):
        write(tmp_path)
        path = tmp_path / "samples" / "part-00002.h5"
        sentence = (
            f"{path}: was altered, its checksum does not fit; move it and the later parts away and run trivmap sample "
            f"{tmp_path}, which draws the same proposals again, or trust it as it is with --trust"
        )

        def number(file):
            file["state/last"][1] *= 4

        def attribute(file):
            file["state"].attrs["index"] = "[65, 1, 3]"

        def kind(file):
            values = file["state/last"][()].view(np.int64)
            del file["state/last"]
            file["state/last"] = values

        whole = path.read_bytes()
        for change in (number, attribute, kind):
            self.alter(path, change)
            with pytest.raises(InputError) as caught:
                SampleWriter(tmp_path, ATTRIBUTES).state  # noqa: B018
            assert str(caught.value) == sentence
            with trusting():
                assert set(SampleWriter(tmp_path, ATTRIBUTES).state) == {"last", "index"}
            path.write_bytes(whole)
        assert np.array_equal(SampleWriter(tmp_path, ATTRIBUTES).state["last"], np.arange(3.0) + 65)

    @pytest.mark.parametrize(("name", "value"), [("start", 1), ("seed", 8), ("kind", "flaw"), ("lattice", [4, 2])])
    def test_of_a_part(self, tmp_path, name, value):
        write(tmp_path, counts=(40,))
        self.alter(tmp_path / "samples" / "part-00000.h5", lambda file: file.attrs.modify(name, value))
        with pytest.raises(InputError, match=r"part-00000\.h5: was altered, its checksum does not fit; move it and"):
            SampleReader(tmp_path)

    @pytest.mark.parametrize("name", ["log_weight", "observables/magnetization", "observables/two_point"])
    def test_of_the_data(self, tmp_path, name):
        """An editor has HDF5 write its own checksums anew."""
        write(tmp_path)

        def number(file):
            file[name][1, 2] += 1

        self.alter(tmp_path / "samples" / "part-00001.h5", number)
        with pytest.raises(InputError, match=r"part-00001\.h5: was altered, its checksum does not fit; move it and"):
            SampleReader(tmp_path)
        with trusting(), SampleReader(tmp_path) as reader:
            assert reader.n == 100

    @pytest.mark.parametrize(("name", "value"), [("warmup", 20), ("chains", 2), ("proposals", 10), ("parts", 2)])
    def test_of_the_index(self, tmp_path, name, value):
        write(tmp_path)
        index = tmp_path / "samples.h5"
        self.alter(index, lambda file: file.attrs.modify(name, value))
        with pytest.raises(InputError) as caught:
            SampleReader(tmp_path)
        assert str(caught.value) == (
            f"{index}: was altered, its checksum does not fit; run trivmap sample {tmp_path}, which makes it again "
            "from the parts in samples/, or trust it as it is with --trust"
        )
        SampleWriter(tmp_path, ATTRIBUTES)
        with SampleReader(tmp_path) as reader:
            assert reader.warmup == 5

    def test_files_of_an_older_version_have_none(self, tmp_path):
        def forget(file):
            del file.attrs["sha256"]
            if "state" in file:
                del file["state"].attrs["sha256"]

        write(tmp_path)
        for path in tmp_path.rglob("*.h5"):
            self.alter(path, forget)
        self.alter(tmp_path / "samples" / "part-00002.h5", lambda file: file.attrs.__delitem__("chunks"))
        assert SampleWriter(tmp_path, ATTRIBUTES | {"generator": "threefry2x32"}).state["index"] == [65, 1, 2]
        with SampleReader(tmp_path) as reader:
            assert reader.n == 100

    @pytest.mark.parametrize("name", ["samples.h5", "samples/part-00001.h5"])
    def test_none_in_a_run_that_has_them(self, tmp_path, name):
        write(tmp_path)
        write_json(tmp_path / "environment.json", {})
        self.alter(tmp_path / name, lambda file: file.attrs.__delitem__("sha256"))
        with pytest.raises(InputError, match=r"\.h5: was altered, its checksum does not fit"):
            SampleReader(tmp_path)

    def test_of_another_generator(self, tmp_path):
        write(tmp_path, generator="threefry2x32")
        with pytest.raises(InputError, match="was drawn with generator = threefry2x32, the run now has rbg"):
            SampleWriter(tmp_path, ATTRIBUTES | {"generator": "rbg"})


def test_fewer_than_there_are(tmp_path):
    write(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(InputError) as caught:
        SampleWriter(tmp_path, ATTRIBUTES | {"proposals": 299}, no_fewer=True)
    assert str(caught.value) == (
        f"sampling.proposals: is 299, but 300 are stored in {tmp_path / 'samples'}; give at least as many, or move the "
        "samples away"
    )
    assert contents(tmp_path) == before


class TestShapes:
    """A part may be well as an HDF5 file, and yet no part."""

    def replaced(self, root, name, values):
        with h5py.File(root / "samples" / "part-00001.h5", "a") as file:
            del file[name]
            if values is not None:
                file[name] = values

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("accepted", None),
            ("accepted", np.zeros((3, 25))),
            ("log_weight", np.zeros((3, 24))),
            ("log_weight", np.zeros(75)),
            ("observables/magnetization", np.zeros((2, 25))),
            ("observables/magnetization", 1.0),
            ("observables", np.zeros((3, 25))),
        ],
    )
    def test_of_a_part(self, tmp_path, name, values):
        write(tmp_path)
        self.replaced(tmp_path, name, values)
        with trusting(), pytest.raises(InputError, match=r"part-00001\.h5: is truncated or damaged; move it and the"):
            SampleReader(tmp_path)

    @pytest.mark.parametrize(("name", "value"), [("start", "x"), ("steps", 2.5), ("chains", 0), ("chains", [3])])
    def test_of_its_attributes(self, tmp_path, name, value):
        write(tmp_path, counts=(40,))
        with h5py.File(tmp_path / "samples" / "part-00000.h5", "a") as file:
            file.attrs[name] = value
        with trusting(), pytest.raises(InputError, match=r"part-00000\.h5: is truncated or damaged"):
            SampleReader(tmp_path)

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("chains", 0, r"part-00000\.h5: was drawn with chains = 3, not with 0"),
            ("chains", "x", r"samples\.h5: is truncated"),
            ("warmup", 1.5, r"samples\.h5: is truncated"),
        ],
    )
    def test_of_the_index(self, tmp_path, name, value, said):
        write(tmp_path)
        with h5py.File(tmp_path / "samples.h5", "a") as file:
            file.attrs[name] = value
        with trusting(), pytest.raises(InputError, match=said):
            SampleReader(tmp_path)


class TestWhatIsInTheWay:
    def test_a_link_in_a_part(self, tmp_path):
        write(tmp_path)
        with h5py.File(tmp_path / "samples" / "part-00001.h5", "a") as file:
            del file["observables/magnetization"]
            file["observables/magnetization"] = h5py.ExternalLink("part-00000.h5", "log_weight")
        with trusting(), pytest.raises(InputError, match="'observables/magnetization' is a link or lies in another"):
            SampleReader(tmp_path)

    def test_a_link_to_nowhere(self, tmp_path):
        (tmp_path / "samples").symlink_to("gone/away")
        for opened in (SampleReader, lambda root: SampleWriter(root, ATTRIBUTES)):
            with pytest.raises(InputError) as caught:
                opened(tmp_path)
            assert str(caught.value) == (
                f"{tmp_path / 'samples'}: is a symbolic link, which trivmap does not follow here; put the folder "
                "itself in its place"
            )

    @pytest.mark.parametrize("name", ["samples.h5", "samples/part-00001.h5"])
    def test_a_pipe(self, tmp_path, name):
        write(tmp_path)
        (tmp_path / name).unlink()
        os.mkfifo(tmp_path / name)
        with pytest.raises(InputError, match=r"\.h5: is a pipe, a socket or a device where a file belongs; move it"):
            SampleReader(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EACCES, errno.EIO])
def test_what_the_system_refuses_is_no_damage(tmp_path, monkeypatch, code):
    write(tmp_path)

    def refusing(*_, **options):
        assert options == {"locking": False}
        raise OSError(code, "Unable to synchronously open file (unable to lock file)")

    monkeypatch.setattr(h5py, "File", refusing)
    with pytest.raises(InputError) as caught:
        SampleReader(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'samples.h5'}: cannot be read ({os.strerror(code)}); check its permissions and the disk"
    )
