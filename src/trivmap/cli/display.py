"""Progress in a terminal, or as plain lines if there is none."""

import threading
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment

from trivmap.cli.terminal import printable
from trivmap.progress import TimeLeft

_COMPILED = ("train", "sample", "stages", "export")
"""Tasks that begin with minutes of compilation if maps are large."""
_PATIENCE = 60.0
"""Seconds between two lines that report that the program is still compiling."""


class _Console(Console):
    """A console that escapes control sequences in its text; only styles can control the terminal."""

    def print(self, *objects: Any, **options: Any) -> None:
        # Escaped before rich computes the width of the line.
        super().print(*(printable(each) if isinstance(each, str) else each for each in objects), **options)

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        # Every part of every table and text passes through here.
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def console(*, stderr: bool = False, width: int | None = None, file: Any = None) -> Console:
    """The console that text is printed to; it has the usual width if the environment reports a width of 0.

    A `file` (an object with methods write and flush) gets plain lines for any terminal settings in the environment.
    """
    if file is not None:
        return _Console(file=file, highlight=False, width=width or 80, force_terminal=False, color_system=None)
    made = _Console(stderr=stderr, highlight=False, width=width)
    return made if made.width > 0 else _Console(stderr=stderr, highlight=False, width=80)


class Display:
    """Shows the pipeline's progress on stderr: a bar in a terminal, a line every ten seconds elsewhere.

    The time left is an estimate, see `progress.TimeLeft`.
    """

    def __init__(self, shown_on: Console | None = None):
        self.console = shown_on or console(stderr=True)
        self._bar: Progress | None = None
        self._task = ""
        self._total = self._done = 0
        self._spoken = 0.0
        self._figures: dict[str, Any] = {}
        self._left = TimeLeft()
        self._compiling: threading.Event | None = None

    def begin(self, task: str, total: int, done: int = 0) -> None:
        self._task, self._total, self._done, self._figures, self._spoken = task, total, done, {}, time.monotonic()
        self._left = TimeLeft()
        compiles = task in _COMPILED and done < total
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description:8}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}"),
                console=self.console,
            )
            self._bar.add_task(task, total=total, completed=done, figures="compiling" if compiles else "")
            self._bar.start()
        else:
            self.note(f"{task}: {done} of {total}{'  compiling' if compiles else ''}")
            if compiles:
                self._compiling = threading.Event()
                threading.Thread(target=self._still_compiling, args=[self._compiling], daemon=True).start()

    def _still_compiling(self, over: threading.Event) -> None:
        """Report every minute that the program is still compiling, until the first units of the task are done."""
        from trivmap.reports.formats import duration

        begun = time.monotonic()
        while not over.wait(_PATIENCE):
            self.note(f"{self._task}: still compiling, or at its first steps ({duration(time.monotonic() - begun)})")

    def _has_begun(self) -> None:
        if self._compiling is not None:
            self._compiling.set()
            self._compiling = None

    def update(self, done: int, **figures: Any) -> None:
        self._has_begun()
        seconds = self._left.seconds(done, self._total)
        self._done = done
        self._figures |= figures
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, figures=self._text())
        elif time.monotonic() - self._spoken > 10:
            self._spoken = time.monotonic()
            from trivmap.reports.formats import duration

            left = "" if seconds is None else f"about {duration(seconds)} left  "
            self.note(f"{self._task}: {done} of {self._total}  {left}{self._text()}".rstrip())

    def end(self) -> None:
        self._has_begun()
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        else:
            how = "done" if self._done >= self._total else f"stopped at {self._done} of {self._total}"
            self.note(f"{self._task}: {how}  {self._text()}".rstrip())

    def note(self, text: str) -> None:
        # A path may contain brackets and be longer than the line.
        self.console.print(text, markup=False, soft_wrap=True)

    def _text(self) -> str:
        return "  ".join(f"{name} {value:.4g}" for name, value in self._figures.items() if self._worth(name, value))

    @staticmethod
    def _worth(name: str, value: Any) -> bool:
        return value is not None and not (name == "temperature" and value == 1.0)
