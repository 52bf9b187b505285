"""What is seen of a study from outside: its progress in a terminal, workers that do not fit, how runs were timed."""

import os
import pty
import subprocess
import sys
import threading
from unittest.mock import create_autospec

import pytest
from distributed import Client

from tests.studies.scaling.small_study import small
from trivmap.errors import InputError
from trivmap.reports.study import conditions, fit_rows, not_fitted
from trivmap.store.files import write_text
from trivmap.studies.scaling import execution
from trivmap.studies.scaling.card import StudyCard
from trivmap.studies.scaling.directory import StudyDirectory
from trivmap.studies.scaling.status import statuses

FIRST, SECOND = "fourier_L4_seed0", "fourier_L6_seed0"


def test_a_terminal_shows_the_runs_until_none_is_left(tmp_path):
    directory = StudyDirectory.create(tmp_path / "study", StudyCard.from_data(small()))
    (directory.runs_path / FIRST).mkdir()
    write_text(
        directory.run(FIRST).metrics_path,
        '{"step": 30, "configurations": 960, "seconds": 1.0, "evaluation": {"acceptance": {"value": 0.5}}}\n',
    )
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "trivmap", "study", "--watch", str(directory.root)]
    terminal = {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | terminal)
    os.close(theirs)
    seen, first = bytearray(), threading.Event()

    def read():
        # A terminal whose other end is closed is an error on Linux.
        while chunk := _read(ours):
            seen.extend(chunk)
            if b"2 runs: 0 complete" in seen:
                first.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert first.wait(60)
        with directory.claimed(FIRST):
            _until(lambda: b"1 running" in seen)
        directory.run(FIRST).write_summary({"schema": 1})
        directory.complete(FIRST, {})
        directory.note_failure(SECOND, "ran into a wall")
        assert process.wait(60) == 0
    finally:
        process.kill()
        reader.join(10)
        os.close(ours)
    text = seen.decode()
    assert "acceptance 0.500" in text and "30/60" in text
    assert "1 complete, 0 running, 1 failed" in text and "ran into a wall" in text


def _read(descriptor):
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""


def _until(condition, seconds=60):
    waited = threading.Event()
    for _ in range(10 * seconds):
        if condition():
            return
        waited.wait(0.1)
    raise AssertionError("took too long")


def workers(answers):
    """A client whose workers answer what they are told to."""
    client = create_autospec(Client, instance=True)
    client.run.return_value = answers
    return client


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("0.0.1", r"worker tcp://there:1 has trivmap 0\.0\.1, this is trivmap .*; install the same version everywhere"),
        (ModuleNotFoundError("trivmap"), "worker tcp://there:1 has no trivmap"),
    ],
)
def test_a_worker_with_another_version_is_refused(answer, sentence):
    own = execution.package_version("trivmap")
    execution._require_same_version(workers({"tcp://here:1": own}))
    with pytest.raises(InputError, match=sentence):
        execution._require_same_version(workers({"tcp://here:1": own, "tcp://there:1": answer}))


def test_a_run_sent_to_a_worker_of_another_version_fails_there(tmp_path):
    with pytest.raises(execution.RunFailed, match=r"this worker has trivmap .*, the study was begun with 0\.0\.1"):
        execution.execute(str(tmp_path), FIRST, "0.0.1", False)


@pytest.mark.parametrize(
    ("threads", "exclusive", "sentence"),
    [
        (1, [True, True], "2 of 2 runs had one processor each to themselves"),
        (2, [True, False], "1 of 2 runs had 2 processors each to themselves"),
        (None, [False, False], "could use all processors of its machine: seconds compare only if one run ran"),
    ],
)
def test_the_page_says_how_runs_were_timed(threads, exclusive, sentence):
    runs = [{"state": "complete", "exclusive": each, "host": "one", "sessions": 1, "load": 1.5} for each in exclusive]
    text = conditions({"threads": threads, "runs": [*runs, {"state": "failed"}]})
    assert sentence in text and "(load 1.5 to 1.5 at the ends of the runs; 1 machine), none in more" in text
    assert ("seconds do not compare" in text) == (threads is not None and not all(exclusive))
    text = conditions({"threads": threads, "runs": [*runs, {**runs[0], "sessions": 2}]})
    assert ", 1 in more than one session" in text


def test_what_has_no_exponent_is_named_once():
    exponent = {"exponent": {"value": 2.0, "error": 0.1}, "amplitude": 1.0, "chi_squared": 0.5, "degrees": 1}
    found = {**exponent, "extents": [4, 6, 8], "lower_bound": False}
    fits = [
        {"label": label, "target": target, "cost": cost, "censored": [], "incomplete": [], **(found if known else {})}
        for label, target, known in (("a", "0.5", True), ("a", "0.7", False), ("b", "0.5", False), ("b", "0.7", False))
        for cost in ("configurations", "operations", "seconds")
    ]
    _, rows = fit_rows({"fits": fits})
    assert [row[:3] for row in rows] == [["a", "0.5", "2.00(10)"]]
    assert not_fitted({"fits": fits}).endswith("or of seeds: a (0.7); b (all).")
    assert not_fitted({"fits": fits[:3]}) == ""


def test_a_run_whose_results_are_gone_is_not_complete(tmp_path):
    directory = StudyDirectory.create(tmp_path / "study", StudyCard.from_data(small()))
    directory.complete(FIRST, {})
    (first, _) = statuses(directory)
    assert first.state == "failed" and "its results are gone; delete" in first.reason
