import contextlib
import itertools
import json
import os
import threading
import time

import numpy as np
import pytest

from tests.runs.support import contents, kill_while_working, no_file_larger_than
from trivmap.cards.card import load_card
from trivmap.errors import InputError
from trivmap.store import figures
from trivmap.store.directory import RunDirectory
from trivmap.store.environment import describe_environment
from trivmap.store.figures import figure_formats, write_figures


@pytest.fixture
def run(tmp_path, card):
    return RunDirectory.create(tmp_path / "run", card, {"seed": 0})


def test_create_and_open(tmp_path, card):
    run = RunDirectory.create(tmp_path / "new" / "run", card, describe_environment(seed=3, threads=1))
    assert sorted(path.name for path in run.root.iterdir()) == ["config.yaml", "environment.json"]
    assert [path.name for path in run.root.parent.iterdir()] == ["run"]
    assert RunDirectory.open(str(run.root)).card() == card
    environment = json.loads(run.environment_path.read_text())
    assert environment["seed"] == 3
    assert environment["versions"]["jax"] >= "0.10"
    assert environment["devices"][0]["platform"] == "cpu"
    chunked = card.with_overrides(["training.chunk=50"])
    run.write_card(chunked)
    assert run.card() == chunked


@pytest.mark.parametrize("kind", ["empty", "full", "file", "dangling"])
def test_an_existing_output_is_refused_and_left_alone(tmp_path, card, kind):
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine")
    elif kind == "dangling":
        out.symlink_to(tmp_path / "nowhere")
    else:
        out.mkdir()
        if kind == "full":
            (out / "config.yaml").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(InputError) as caught:
        RunDirectory.create(out, card, {})
    assert str(caught.value) == (
        f"{out}: exists already; give another --out, or continue it with trivmap run --resume {out}"
    )
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_parent_that_is_a_file(tmp_path, card):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"file is not a directory; give another --out"):
        RunDirectory.create(tmp_path / "file" / "run", card, {})


def test_open_refuses_what_is_no_run(tmp_path):
    with pytest.raises(InputError, match="no such run directory"):
        RunDirectory.open(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"is not a run directory, it has no config\.yaml"):
        RunDirectory.open(tmp_path)


def test_metrics(run):
    assert run.metrics() == []
    for step in (10, 20, 30):
        run.append_metrics({"step": step, "loss": np.float32(step / 4), "ess": float("nan"), "x": np.arange(2)})
    assert run.metrics()[1] == {"step": 20, "loss": 5.0, "ess": None, "x": [0, 1]}
    with run.metrics_path.open("ab") as file:
        file.write(b'{"step": 40, "lo')  # torn by a kill
    assert [record["step"] for record in run.metrics()] == [10, 20, 30]
    run.append_metrics({"step": 50})
    assert [record["step"] for record in run.metrics()] == [10, 20, 30, 50]
    run.truncate_metrics(20)
    assert [record["step"] for record in run.metrics()] == [10, 20]
    assert run.metrics_path.read_bytes().count(b"\n") == 2


def test_summary(run):
    assert run.summary() == {}
    run.update_summary(schema=1, training={"steps": 3})
    run.update_summary(sampling={"ess": float("inf")}, training={"steps": 4})
    assert run.summary() == {"schema": 1, "training": {"steps": 4}, "sampling": {"ess": None}}
    run.summary_path.write_text('{"schema":')
    with pytest.raises(InputError, match=r"summary\.json: is damaged; restore it from a backup"):
        run.update_summary(schema=1)
    assert run.summary_path.read_text() == '{"schema":'


def test_figures(run):
    assert figure_formats(run.root) == set()
    write_figures(run.root, {"stages.png": b"png", "stages.pdf": b"pdf"})
    assert figure_formats(run.root) == {"png", "pdf"}
    write_figures(run.root, {"stages.png": b"new"})
    assert (run.figures_path / "stages.png").read_bytes() == b"new"
    assert figure_formats(run.root) == {"png"}
    assert listing(run) == ["stages.png", "written.json"]


def listing(run):
    return sorted(path.name for path in run.figures_path.iterdir())


def test_figures_of_the_users_own(run):
    """A file that somebody put there, or changed, is neither replaced nor removed."""
    write_figures(run.root, {"stages.png": b"png", "training.png": b"png", "training.csv": b"csv"})
    (run.figures_path / "stages.png").write_bytes(b"cropped")
    (run.figures_path / "training.pdf").write_bytes(b"mine")
    for name in ("stages.png", "training.pdf"):
        with pytest.raises(InputError, match=f"{name}: was not written by trivmap, or was changed since"):
            write_figures(run.root, {"training.png": b"new", name: b"new"}, ["training.pdf"])
    assert (run.figures_path / "training.png").read_bytes() == b"png"
    write_figures(run.root, {"training.png": b"new"})
    assert listing(run) == ["stages.png", "training.pdf", "training.png", "written.json"]
    assert (run.figures_path / "stages.png").read_bytes() == b"cropped"


def test_figures_of_an_early_version(run):
    run.figures_path.mkdir()
    for name in ("stages.png", "stages.svg", "mine.png"):
        (run.figures_path / name).write_bytes(b"early")
    names = ["stages.png", "stages.svg", "training.png"]
    assert figure_formats(run.root, names) == {"png", "svg"}
    write_figures(run.root, {"stages.png": b"new", "training.png": b"new"}, names)
    assert listing(run) == ["mine.png", "stages.png", "training.png", "written.json"]


def test_figures_of_a_writer_that_was_killed(run, monkeypatch):
    write_figures(run.root, {"stages.png": b"png", "training.png": b"png"})
    own, done = figures.write_bytes, []

    def write(path, content):
        done.append(path.name)
        if len(done) == 3:
            raise KeyboardInterrupt
        own(path, content)

    monkeypatch.setattr(figures, "write_bytes", write)
    with pytest.raises(KeyboardInterrupt):
        write_figures(run.root, {"stages.png": b"new", "training.png": b"new"})
    assert done == ["written.json", "stages.png", "training.png"]
    monkeypatch.undo()
    write_figures(run.root, {"stages.png": b"newer", "training.png": b"newer"})
    assert (run.figures_path / "training.png").read_bytes() == b"newer"


def test_figures_by_two_at_once(run, monkeypatch):
    """The second writer waits for the first, and finds what that wrote."""
    own, threads = figures.write_bytes, []

    def write(path, content):
        if not threads:
            threads.append(threading.Thread(target=write_figures, args=[run.root, {"stages.png": b"second"}]))
            threads[0].start()
            time.sleep(0.3)
        own(path, content)

    monkeypatch.setattr(figures, "write_bytes", write)
    write_figures(run.root, {"stages.png": b"first", "training.png": b"first"})
    threads[0].join()
    assert (run.figures_path / "stages.png").read_bytes() == b"second"
    assert listing(run) == ["stages.png", "written.json"]


def test_a_damaged_list_of_figures(run):
    write_figures(run.root, {"stages.png": b"png"})
    for text in ("{", "[]", '{"files": 3}', '{"files": {"stages.png": 3}}'):
        (run.figures_path / "written.json").write_text(text)
        with pytest.raises(InputError, match=r"written\.json: is damaged; delete the folder"):
            write_figures(run.root, {"stages.png": b"new"})


def test_only_one_process_writes_figures(run, monkeypatch):
    monkeypatch.setattr(figures, "is_main_process", lambda: False)
    write_figures(run.root, {"stages.png": b"png"})
    assert not run.figures_path.exists()


def hold_the_lock(folder, announce):
    with RunDirectory.open(folder).locked():
        announce(os.getpid())
        time.sleep(60)


def test_the_lock_keeps_a_second_process_out_and_dies_with_the_first(run):
    def try_it(holder):
        with pytest.raises(InputError) as caught, run.locked():
            pass
        assert str(caught.value) == f"{run.root}: process {holder} is working in this run; wait for it or stop it first"

    kill_while_working(hold_the_lock, run.root, 0.0, meanwhile=try_it)
    with run.locked():
        assert (run.root / ".lock").read_text() == f"{os.getpid()}\n"
        with pytest.raises(InputError), run.locked():
            pass
    with run.locked():
        pass


def test_a_full_disk_loses_nothing(run):
    for step in range(20):
        run.append_metrics({"step": step, "text": "x" * 200})
    run.update_summary(schema=1)
    before = contents(run.root)
    names = sorted(path.name for path in run.root.iterdir())
    size = run.metrics_path.stat().st_size
    with no_file_larger_than(size + 100), pytest.raises(InputError) as caught:
        run.append_metrics({"step": 20, "text": "x" * 200})
    assert str(caught.value) == (
        f"{run.metrics_path}: the file would exceed the size limit; nothing written before was lost, make room and "
        "resume the run"
    )
    with no_file_larger_than(100), pytest.raises(InputError, match=r"summary\.json: the file would exceed"):
        run.update_summary(extra="x" * 200)
    with no_file_larger_than(1), pytest.raises(InputError, match=r"metrics\.jsonl: the file would exceed"):
        run.truncate_metrics(5)
    assert contents(run.root) == before
    assert sorted(path.name for path in run.root.iterdir()) == names


def test_a_full_disk_for_real(small_disk, card):
    run = RunDirectory.create(small_disk / "run", card, {})
    run.append_metrics({"step": 0})
    before = contents(run.root)
    with pytest.raises(InputError, match=r"the disk is full; nothing written before was lost"):
        write_figures(run.root, {"large.png": bytes(2_000_000)})
    # The list of figures may name files that were never written.
    assert {name: text for name, text in contents(run.root).items() if name != "figures/written.json"} == before
    step = 0
    with contextlib.suppress(InputError):
        for step in range(1, 10_000):
            run.append_metrics({"step": step, "text": "x" * 1000})
    assert [record["step"] for record in run.metrics()] == list(range(step))
    assert 500 < step < 1100
    with pytest.raises(InputError, match="the disk is full"):
        RunDirectory.create(small_disk / "other", card, {})
    assert [path.name for path in small_disk.iterdir()] == ["run"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written(tmp_path, card):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"):
        RunDirectory.create(tmp_path / "run", card, {})


def create_for_ever(folder, announce):
    card = load_card("free-L8")
    for i in itertools.count():
        RunDirectory.create(folder / f"run-{i}", card, {"seed": i})
        announce(i)


def test_a_kill_leaves_no_half_directory(tmp_path, card):
    """Killed at random moments of `create`, there is either a whole run directory or none."""
    kill_while_working(create_for_ever, tmp_path, 0.02)
    runs = sorted(tmp_path.glob("run-*"))
    assert runs
    for path in runs:
        assert RunDirectory.open(path).card().name == "free-L8"
        assert json.loads((path / "environment.json").read_text())["seed"] == int(path.name.removeprefix("run-"))
