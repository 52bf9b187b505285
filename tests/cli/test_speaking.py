"""`--quiet` and `--log-file`: where a command tells of its work."""

import io
import re
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from rich.console import Console

from tests.runs.support import trivmap
from trivmap.cli import speaking, watching
from trivmap.cli.display import console
from trivmap.cli.main import cli
from trivmap.runs.progress import NoProgress

STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")
TALKING = ["run", "train", "sample", "measure", "report", "compare", "study", "tune"]


def lines(path):
    """The lines of a log without their times."""
    text = path.read_text()
    assert all(STAMP.match(line) for line in text.splitlines())
    return [STAMP.sub("", line) for line in text.splitlines()]


@pytest.mark.parametrize("command", TALKING)
def test_every_command_with_progress_has_them(command):
    told = CliRunner().invoke(cli, [command, "--help"]).stdout
    assert "-q, --quiet" in told and "--log-file FILE" in told


def test_quiet_says_nothing_and_the_log_everything(copy):
    loud = trivmap("measure", "run", "--log-file", "log.txt", folder=copy)
    quiet = trivmap("measure", "run", "--quiet", "--log-file", "log.txt", folder=copy)
    assert (loud.code, quiet.code, quiet.err) == (0, 0, "")
    assert quiet.out == loud.out
    said = loud.err.splitlines()
    assert len(said) >= 2 and said[0].startswith("measure: ")
    assert lines(copy / "log.txt") == said + said


def test_errors_are_shown_and_logged(tmp_path):
    done = trivmap("run", "nowhere.yaml", "-q", "--log-file", "log.txt", folder=tmp_path)
    assert (done.code, done.err) == (2, "trivmap: nowhere.yaml: no such run card\n")
    assert lines(tmp_path / "log.txt") == ["trivmap: nowhere.yaml: no such run card"]


@pytest.mark.parametrize("name", ["nowhere/log.txt", "."])
def test_a_log_that_cannot_be_written(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["run", "quickstart", "--log-file", name])
    assert done.exit_code == 2 and done.stderr.startswith("trivmap: --log-file ") and "cannot be written" in done.stderr
    assert done.stderr.count("\n") == 1 and not list(tmp_path.iterdir())


def test_where_progress_is_shown(tmp_path):
    with speaking.speaking(True, None):
        assert isinstance(speaking.progress(), NoProgress)
    with speaking.speaking(True, tmp_path / "log.txt"):
        progress = speaking.progress()
        progress.begin("measure", 2)
        progress.update(1)
        speaking.note("a note\x1b[2J")
        progress.end()
    assert lines(tmp_path / "log.txt") == ["measure: 0 of 2", "a note\\x1b[2J", "measure: stopped at 1 of 2"]


def test_a_terminal_has_no_part_in_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with speaking.speaking(True, tmp_path / "log.txt"):
        assert not speaking.consoles()[0].is_terminal
        speaking.progress().note("[bold]one[/bold] " + "x" * 200)
    assert lines(tmp_path / "log.txt") == ["[bold]one[/bold] " + "x" * 200]


def test_a_log_on_a_full_disk_stops_no_work(capsys, tmp_path):
    class Full(io.StringIO):
        def flush(self):
            raise OSError(28, "No space left on device")

    stamped = speaking._Stamped(Full(), tmp_path / "log.txt")
    for _ in range(3):
        stamped.write("a line\n")
    said = capsys.readouterr().err
    assert (
        said == f"trivmap: --log-file {tmp_path}/log.txt: is no longer written (No space left on device); the work "
        "continues\n"
    )


def test_a_study_in_a_terminal_has_its_lines_in_the_log(monkeypatch):
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100)
    log = io.StringIO()
    status = {"name": "a", "state": "running", "step": 1, "steps": 9}
    unknown = dict.fromkeys(("acceptance", "seconds_left", "reason"))
    found = [SimpleNamespace(**status, **unknown)]
    monkeypatch.setattr("trivmap.studies.scaling.status.statuses", lambda directory, known: found)
    with watching.Watch(None, terminal, console(file=log)) as watch:
        watch.note("study: here")
        watch.refresh(now=True)
        watch.refresh(now=True)
    assert log.getvalue().splitlines() == ["study: here", watching.line(found[0])]
    assert "1 runs" in terminal.file.getvalue()
