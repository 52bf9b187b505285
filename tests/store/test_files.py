import errno
import fcntl
import os
import stat

import pytest

from tests.runs.support import contents
from trivmap.errors import InputError
from trivmap.store import locks
from trivmap.store.directory import RunDirectory
from trivmap.store.figures import write_figures
from trivmap.store.files import append_bytes, lock, new_directory, new_large_file, write_bytes, write_json, write_text
from trivmap.store.folders import inside, is_folder, listed, own_folder, sync
from trivmap.store.plain import is_file, read_bytes


@pytest.fixture
def run(tmp_path, card):
    return RunDirectory.create(tmp_path / "run", card, {"seed": 0}, {"schema": 1})


@pytest.fixture
def precious(tmp_path):
    path = tmp_path / "elsewhere" / "precious"
    path.parent.mkdir()
    path.write_text("mine")
    return path


def put(path, kind, target):
    """Something that is no plain file, or not this run's alone, at a path."""
    path.unlink(missing_ok=True)
    match kind:
        case "link":
            path.symlink_to(target)
        case "hard link":
            os.link(target, path)
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()


LINK = "is a symbolic link, which trivmap does not follow here; put the file itself in its place"
PIPE = "is a pipe, a socket or a device where a file belongs; move it away"
FOLDER = "is a folder where a file belongs; move it away"
FOLDER_LINK = "is a symbolic link, which trivmap does not follow here; put the folder itself in its place"
HARD_LINK = "has another name elsewhere (it is a hard link), so it is left alone; delete it"
STRANGE = [("link", LINK), ("pipe", PIPE), ("folder", FOLDER)]


class TestNothingIsFollowed:
    @pytest.mark.parametrize(("kind", "sentence"), [*STRANGE, ("hard link", HARD_LINK)])
    def test_of_the_lock(self, run, precious, kind, sentence):
        put(run.root / ".lock", kind, precious)
        with pytest.raises(InputError) as caught, run.locked():
            pass
        assert str(caught.value) == f"{run.root / '.lock'}: {sentence}"
        assert precious.read_text() == "mine"

    @pytest.mark.parametrize(("kind", "sentence"), STRANGE)
    @pytest.mark.parametrize("name", ["config.yaml", "summary.json", "metrics.jsonl"])
    def test_of_what_is_read(self, run, precious, kind, sentence, name):
        read = {
            "config.yaml": lambda: RunDirectory.open(run.root),
            "summary.json": run.summary,
            "metrics.jsonl": run.metrics,
        }
        put(run.root / name, kind, precious)
        with pytest.raises(InputError) as caught:
            read[name]()
        assert str(caught.value) == f"{run.root / name}: {sentence}"

    @pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
    def test_what_is_written_takes_their_place(self, run, precious, kind):
        put(run.summary_path, kind, precious)
        run.write_summary({"schema": 1})
        assert run.summary() == {"schema": 1}
        assert precious.read_text() == "mine"
        assert stat.S_ISREG(os.lstat(run.summary_path).st_mode)

    def test_a_folder_in_the_place_of_what_is_written(self, run):
        put(run.summary_path, "folder", None)
        with pytest.raises(InputError) as caught:
            run.write_summary({})
        assert str(caught.value) == f"{run.summary_path}: {FOLDER}"

    @pytest.mark.parametrize(("kind", "sentence"), STRANGE)
    def test_of_what_is_appended_to(self, run, precious, kind, sentence):
        put(run.metrics_path, kind, precious)
        with pytest.raises(InputError) as caught:
            run.append_metrics({"step": 1})
        assert str(caught.value) == f"{run.metrics_path}: {sentence}"
        assert precious.read_text() == "mine"

    def test_a_copy_that_shares_its_files_stays_as_it_is(self, run, tmp_path):
        run.append_metrics({"step": 1})
        copy = tmp_path / "copy"
        os.link(run.metrics_path, copy)
        run.append_metrics({"step": 2})
        assert copy.read_bytes() == b'{"step": 1}\n'
        assert [record["step"] for record in run.metrics()] == [1, 2]

    def test_names_that_others_can_foresee_are_not_used(self, run, precious):
        (run.root / ".summary.json.partial").symlink_to(precious)
        run.update_summary(schema=1)
        assert precious.read_text() == "mine"

    def test_of_folders(self, run, precious):
        run.figures_path.symlink_to(precious.parent)
        with pytest.raises(InputError) as caught:
            write_figures(run.root, {"stages.png": b"png"})
        assert str(caught.value) == f"{run.figures_path}: {FOLDER_LINK}"
        assert list(precious.parent.iterdir()) == [precious]
        run.figures_path.unlink()
        run.figures_path.write_text("")
        with pytest.raises(InputError, match=r"figures: is not a folder; move it away"):
            write_figures(run.root, {"stages.png": b"png"})

    def test_of_folders_within_folders(self, run, precious):
        (run.root / "a").symlink_to(precious.parent)
        with pytest.raises(InputError) as caught, inside(run.root):
            write_bytes(run.root / "a" / "b", b"")
        assert str(caught.value) == f"{run.root / 'a'}: {FOLDER_LINK}"

    def test_the_run_itself_may_be_named_by_a_link(self, run, tmp_path):
        link = tmp_path / "latest"
        link.symlink_to(run.root)
        named = RunDirectory.open(link)
        with named.locked():
            named.update_summary(seed=1)
            write_figures(named.root, {"stages.png": b"png"})
        assert run.summary() == {"schema": 1, "seed": 1}


class TestInside:
    """A directory that a command works in, and what became of it meanwhile."""

    SENTENCE = (
        "was moved, removed or replaced while this command worked in it; nothing more is written, so start the command "
        "again where the directory is now"
    )

    @pytest.mark.parametrize("how", ["moved", "replaced", "removed"])
    def test_nothing_is_written_elsewhere(self, run, tmp_path, card, how):
        other = tmp_path / "moved"
        with run.locked():
            run.append_metrics({"step": 1})
            run.root.rename(other)
            if how == "replaced":
                RunDirectory.create(run.root, card, {"seed": 1}, {"schema": 1})
            elif how == "removed":
                for path in sorted(other.iterdir()):
                    path.unlink()
                other.rmdir()
            before = contents(tmp_path)
            for write in (
                lambda: run.append_metrics({"step": 2}),
                lambda: run.update_summary(schema=1),
                lambda: write_figures(run.root, {"stages.png": b""}),
                lambda: own_folder(run.root / "samples"),
                run.summary,
            ):
                with pytest.raises(InputError) as caught:
                    write()
                assert str(caught.value) == f"{run.root}: {self.SENTENCE}"
        assert contents(tmp_path) == before

    def test_it_ends_with_the_block(self, run, tmp_path):
        with run.locked(), inside(run.root):
            pass
        run.root.rename(tmp_path / "moved")
        (tmp_path / "run").mkdir()
        write_text(tmp_path / "run" / "a", "b")
        assert contents(tmp_path / "run").keys() == {"a"}

    def test_folders(self, tmp_path):
        assert not is_folder(tmp_path / "a") and not is_folder(tmp_path / "nothing" / "a")
        assert listed(tmp_path / "a") == []
        own_folder(tmp_path / "a")
        own_folder(tmp_path / "a")
        write_text(tmp_path / "a" / "b", "")
        assert is_folder(tmp_path / "a") and listed(tmp_path / "a") == ["b"]
        assert not is_file(tmp_path / "a" / "c") and is_file(tmp_path / "a" / "b")


class TestLeftovers:
    def test_of_a_file_and_of_a_folder_are_removed(self, tmp_path):
        (tmp_path / ".trivmap-0123abcd").write_text("half")
        folder = tmp_path / ".trivmap-0123abce"
        folder.mkdir()
        (folder / "a").write_text("half")
        others = {".trivmap-notes", ".trivmap-0123abcd.txt", "a"}
        for name in others:
            (tmp_path / name).write_text("mine")
        write_bytes(tmp_path / "b", b"")
        assert {path.name for path in tmp_path.iterdir()} == others | {"b"}

    def test_of_a_process_that_lives_are_kept(self, tmp_path):
        path = tmp_path / ".trivmap-0123abcd"
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            write_bytes(tmp_path / "b", b"")
            assert path.exists()
        write_bytes(tmp_path / "b", b"")
        assert not path.exists()

    def test_a_link_of_that_name(self, tmp_path):
        (tmp_path / "precious").mkdir()
        (tmp_path / ".trivmap-0123abcd").symlink_to(tmp_path / "precious")
        write_bytes(tmp_path / "b", b"")
        assert (tmp_path / "precious").exists()

    def test_directories_within_one_that_is_being_made(self, tmp_path):
        with new_directory(tmp_path / "a", "") as outer:
            write_text(outer / "card", "")
            with new_directory(outer / "b", "") as inner:
                write_text(inner / "card", "")
        assert contents(tmp_path).keys() == {"a/card", "a/b/card"}
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o777 & ~umask()


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


class TestFileSystems:
    """What some of them answer, by fakes."""

    @pytest.fixture
    def no_locks(self, monkeypatch, request):
        def flock(*_):
            raise OSError(request.param, os.strerror(request.param))

        locks._say_that_nothing_locks.cache_clear()
        monkeypatch.setattr(fcntl, "flock", flock)
        yield
        locks._say_that_nothing_locks.cache_clear()

    @pytest.mark.parametrize("no_locks", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], indirect=True)
    def test_without_locks(self, tmp_path, card, no_locks, capfd):
        run = RunDirectory.create(tmp_path / "run", card, {}, {"schema": 1})
        with run.locked():
            run.update_summary(seed=1)
        with run.locked():
            assert run.summary()["seed"] == 1
        assert capfd.readouterr() == (
            "",
            "trivmap: this file system has no file locks; nothing keeps two processes from working in one directory, "
            "so start one at a time\n",
        )

    @pytest.mark.parametrize("no_locks", [errno.EIO], indirect=True)
    def test_a_lock_that_fails(self, run, no_locks):
        with pytest.raises(InputError, match=r"\.lock: cannot be written \(Input/output error\)"), run.locked():
            pass

    @pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
    def test_without_sync_of_folders(self, tmp_path, monkeypatch, card, code):
        own = os.fsync

        def fsync(descriptor):
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(code, os.strerror(code))
            own(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        run = RunDirectory.create(tmp_path / "run", card, {})
        run.update_summary(schema=1)
        assert run.summary() == {"schema": 1}

    def test_a_sync_that_fails_is_told(self, tmp_path, monkeypatch):
        def fsync(_):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(InputError, match=r"a: cannot be written \(Input/output error\)"):
            write_bytes(tmp_path / "a", b"")
        with pytest.raises(OSError, match="Input/output"):
            sync(0)
        assert list(tmp_path.iterdir()) == []

    def test_a_name_that_is_too_long(self, tmp_path, card):
        RunDirectory.create(tmp_path / ("a" * 250), card, {})
        with pytest.raises(InputError, match=r"a: the name is too long for this file system; choose a shorter one$"):
            RunDirectory.create(tmp_path / ("a" * 300), card, {})
        with pytest.raises(InputError, match=r"a: cannot be read \(File name too long\)"):
            RunDirectory.open(tmp_path / ("a" * 300))

    def test_a_name_that_is_none(self, tmp_path, card):
        with pytest.raises(InputError, match="--out: has a NUL character"):
            RunDirectory.create(tmp_path / "a\0b", card, {})
        with pytest.raises(InputError, match="no such run directory"):
            RunDirectory.open(tmp_path / "a\0b")

    @pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a file system in which nothing can be made")
    def test_where_nothing_can_be_made(self, card):
        with pytest.raises(InputError, match=r"^/proc/run: cannot be written"):
            RunDirectory.create("/proc/run", card, {})


def test_the_lock_file_tells_who_holds_it(tmp_path):
    first, taken = lock(tmp_path / ".lock")
    second, again = lock(tmp_path / ".lock")
    assert (taken, again) == (True, False)
    os.close(first)
    os.close(second)


def test_what_is_written_may_be_read(tmp_path):
    write_bytes(tmp_path / "a", b"1")
    append_bytes(tmp_path / "a", b"2\n", separator=b"\n")
    assert read_bytes(tmp_path / "a") == b"1\n2\n"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~umask()
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "b")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "c", {"a": float("nan")})


def test_a_text_that_no_encoding_has_is_escaped(tmp_path):
    write_text(tmp_path / "a", "χ \ud800")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "χ \\ud800"


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_replaces_nothing_even_at_the_last_moment(links, tmp_path, monkeypatch):
    if not links:
        monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EPERM, "no links here")))
    path = tmp_path / "out.h5"

    def race():
        with new_large_file(path) as partial:
            partial.write_text("whole")
            path.write_text("mine")

    with pytest.raises(InputError, match=r"out\.h5: exists already"):
        race()
    assert path.read_text() == "mine" and os.listdir(tmp_path) == ["out.h5"]
    path.unlink()
    with new_large_file(path) as partial:
        partial.write_text("whole")
    assert path.read_text() == "whole" and os.listdir(tmp_path) == ["out.h5"]
