"""The line of progress."""

import io

from trivmap.progress import Line


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_sees_one_line():
    shown = Terminal()
    line = Line(shown)
    line.begin("train", 4)
    for done in range(1, 5):
        line.update(done, ess=0.5, loss=None)
    line.end()
    text = shown.getvalue()
    assert text.count("\n") == 1 and text.startswith("\rtrain: 0 of 4  compiling\r")
    assert "about 0 s left  ess 0.5" in text and text.rstrip().endswith("train: 4 of 4  ess 0.5")


def test_elsewhere_lines_are_few():
    shown = io.StringIO()
    line = Line(shown)
    line.begin("sample", 1000)
    for done in range(1, 1001):
        line.update(done)
    line.end()
    line.note("kept")
    assert shown.getvalue() == "sample: 0 of 1000  compiling\nsample: 1000 of 1000\nkept\n"
