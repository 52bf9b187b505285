import io
import time

import pytest
from rich.console import Console

from trivmap.cli.display import Display, console


def display(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None, highlight=False)
    return Display(console), console.file


class TestLines:
    """Where there is no terminal."""

    def test_begin_and_end(self):
        shown, text = display(terminal=False)
        shown.begin("train", 40)
        shown.update(20, loss=-1.23456, ess=None, temperature=1.0)
        shown.update(40, ess=0.5)
        shown.end()
        assert text.getvalue() == "train: 0 of 40  compiling\ntrain: done  loss -1.235  ess 0.5\n"

    def test_what_was_stopped_is_not_done(self):
        shown, text = display(terminal=False)
        shown.begin("sample", 100, done=20)
        shown.update(60)
        shown.end()
        assert text.getvalue() == "sample: 20 of 100  compiling\nsample: stopped at 60 of 100\n"

    def test_a_line_now_and_then(self, monkeypatch):
        now = [0.0]
        monkeypatch.setattr("trivmap.cli.display.time.monotonic", lambda: now[0])
        shown, text = display(terminal=False)
        shown.begin("train", 10)
        for done in range(1, 6):
            now[0] += 4.0
            shown.update(done, temperature=2.0)
        assert text.getvalue() == "train: 0 of 10  compiling\ntrain: 3 of 10  about 28 s left  temperature 2\n"

    def test_figures_of_one_task_are_not_those_of_the_next(self):
        shown, text = display(terminal=False)
        shown.begin("train", 1)
        shown.update(1, loss=3.0)
        shown.end()
        shown.begin("sample", 1)
        shown.update(1)
        shown.end()
        assert text.getvalue().splitlines()[-1] == "sample: done"

    def test_says_now_and_then_that_it_still_compiles(self, monkeypatch):
        monkeypatch.setattr("trivmap.cli.display._PATIENCE", 0.02)
        shown, text = display(terminal=False)
        shown.begin("sample", 10)
        for _ in range(500):
            if text.getvalue().count("\n") > 2:
                break
            time.sleep(0.01)
        shown.update(1)
        first, *lines = text.getvalue().splitlines()
        assert first == "sample: 0 of 10  compiling" and len(lines) >= 2
        assert all(line.startswith("sample: still compiling, or at its first steps (") for line in lines)

    def test_nothing_is_compiled_for_what_is_done(self):
        shown, text = display(terminal=False)
        shown.begin("sample", 10, done=10)
        shown.end()
        assert text.getvalue().splitlines()[0] == "sample: 10 of 10"

    @pytest.mark.parametrize("text", ["runs/[red]1[/red]", "x" * 300])
    def test_notes_are_printed_as_they_are(self, text):
        shown, printed = display(terminal=False)
        shown.note(text)
        assert printed.getvalue() == f"{text}\n"

    def test_numbers_that_are_none(self):
        shown, text = display(terminal=False)
        shown.begin("train", 1)
        shown.update(1, acceptance=float("nan"), ess=None)
        shown.end()
        assert text.getvalue().endswith("train: done  acceptance nan\n")


class TestBar:
    """In a terminal."""

    def test_shows_numbers_and_gives_the_cursor_back(self):
        shown, text = display(terminal=True)
        shown.begin("train", 40, done=10)
        shown.update(20, loss=-1.5)
        shown.end()
        assert "train" in text.getvalue() and "20/40" in text.getvalue() and "loss -1.5" in text.getvalue()
        hide, show = "\x1b[?25l", "\x1b[?25h"
        assert text.getvalue().count(hide) == text.getvalue().count(show) == 1
        assert text.getvalue().rindex(show) > text.getvalue().rindex(hide)

    def test_says_that_it_compiles(self):
        shown, text = display(terminal=True)
        shown.begin("train", 40)
        shown.end()
        assert "compiling" in text.getvalue()


@pytest.mark.parametrize(("columns", "width"), [("0", 80), ("10", 10), ("abc", None)])
def test_a_terminal_without_width(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    found = console().width
    assert found > 0 and (width is None or found == width)
