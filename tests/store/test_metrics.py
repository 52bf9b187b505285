import json

import pytest

from trivmap.errors import InputError
from trivmap.store.directory import RunDirectory
from trivmap.trust import trusting


@pytest.fixture
def run(tmp_path, card):
    """A run whose training has ended after 40 steps."""
    run = RunDirectory.create(tmp_path / "run", card, {}, {"schema": 1, "training": None})
    for step in (10, 20, 30, 40):
        run.append_metrics({"step": step, "loss": step / 7})
    run.update_summary(training={"steps": 40, "metrics": run.metrics_mark()})
    return run


def test_as_it_was_written(run):
    assert run.metrics_damage() is None
    assert [record["step"] for record in run.metrics()] == [10, 20, 30, 40]
    assert run.last_metrics() == {"step": 40, "loss": 40 / 7}


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda text: None, "is missing"),
        (lambda text: b"", "has lost lines"),
        (lambda text: text[: len(text) // 2], "has lost lines"),
        (lambda text: b"".join(text.splitlines(keepends=True)[1:]), "has lost lines"),
        (lambda text: bytes(len(text)), "was altered"),
        (lambda text: text.replace(b"20", b"21", 1), "was altered"),
        (lambda text: b"[]\n" * len(text), "was altered"),
    ],
)
def test_what_has_become_of_it(run, spoil, found):
    content = spoil(run.metrics_path.read_bytes())
    run.metrics_path.unlink()
    if content is not None:
        run.metrics_path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        run.metrics()
    assert str(caught.value) == (
        f"{run.metrics_path}: {found} since the training ended; restore it from a backup, or use what there is with "
        "--trust (no result of the run depends on it)"
    )
    with trusting():
        assert len(run.metrics()) <= 4


@pytest.mark.parametrize("record", [{"step": 30, "evaluation": {}}, {"step": 40}, {"step": 50}, {"loss": 0.5}])
def test_a_training_that_has_ended_adds_no_lines(run, record):
    run.append_metrics(record)
    with pytest.raises(InputError, match="has gained lines that its training did not write since the training ended"):
        run.metrics()


def test_while_a_training_continues_lines_of_any_step_are_its_own(run):
    run.update_summary(training={"steps": 40, "metrics": run.metrics_mark() | {"step": None}})
    run.append_metrics({"step": 30})
    assert run.metrics_damage() is None


def test_truncated(run):
    run.truncate_metrics(20)
    assert [record["step"] for record in records(run)] == [10, 20]
    assert run.metrics_damage()


def records(run):
    return [json.loads(line) for line in run.metrics_path.read_bytes().splitlines()]


def test_what_is_kept_stays_byte_for_byte(run):
    lines = [b'{"step":1,   "a": 0.10}', b'{"step": 2, "lo', b'{"step": 3}', b"[]", b'{"step": 4}']
    run.metrics_path.write_bytes(b"\n".join(lines) + b"\n")
    run.truncate_metrics(3)
    assert run.metrics_path.read_bytes() == lines[0] + b"\n" + lines[2] + b"\n"


def test_the_last_one_of_a_long_file(run):
    long = {"step": 50, "text": "x" * 100_000}
    run.append_metrics(long)
    assert run.last_metrics() == long
    with run.metrics_path.open("ab") as file:
        file.write(b'{"step": 60, "text": "' + b"x" * 100_000)
    assert run.last_metrics() == long
    run.metrics_path.write_bytes(b"x" * 100_000)
    assert run.last_metrics() is None


def test_runs_of_an_older_version_note_nothing(run):
    run.update_summary(training={"steps": 40})
    run.metrics_path.write_bytes(b"")
    assert run.metrics_damage() is None and run.metrics() == []
