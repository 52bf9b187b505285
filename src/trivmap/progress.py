"""Progress of slow calls, for scripts and notebooks: one line that is updated."""

import sys
import time
from typing import Any


class TimeLeft:
    """An estimate of the seconds that are left in a task, from the mean rate since the first units were done.

    The time before the first units, such as compilation, does not count.
    """

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def seconds(self, done: int, total: int) -> float | None:
        """The seconds left now that `done` of `total` units are complete; None while there is no rate yet."""
        now = time.monotonic()
        if self._first is None:
            self._first = (now, done)
        begun, before = self._first
        return (now - begun) / (done - before) * (total - done) if done > before else None


class Line:
    """A line on stderr with the share that is done and the time left.

    A terminal and a notebook show one line that changes. Elsewhere there is a line every ten seconds.

    Args:
        stream: the stream for the line (None: stderr).
    """

    def __init__(self, stream: Any = None):
        self._stream = stream or sys.stderr
        self._rewrites = self._stream.isatty() or "ipykernel" in sys.modules
        self._task, self._total, self._width = "", 0, 0
        self._left, self._spoken = TimeLeft(), 0.0

    def begin(self, task: str, total: int, done: int = 0) -> None:
        """A task of `total` units starts, of which `done` are already complete; its programs are compiled first."""
        self._task, self._total, self._left = task, total, TimeLeft()
        self._write(f"{task}: {done} of {total}  compiling")

    def update(self, done: int, **figures: Any) -> None:
        """`done` units of the task are complete; `figures` are worth showing."""
        seconds = self._left.seconds(done, self._total)
        if self._rewrites or time.monotonic() - self._spoken > 10 or done >= self._total:
            left = "" if seconds is None or done >= self._total else f"  about {seconds:.0f} s left"
            numbers = "".join(f"  {name} {value:.4g}" for name, value in figures.items() if value is not None)
            self._write(f"{self._task}: {done} of {self._total}{left}{numbers}")

    def end(self) -> None:
        """The task is over."""
        if self._rewrites:
            self._stream.write("\n")
        self._width = 0

    def note(self, text: str) -> None:
        """A line worth keeping."""
        self._stream.write(f"{text}\n")

    def _write(self, text: str) -> None:
        self._spoken = time.monotonic()
        self._stream.write(f"\r{text:{self._width}}" if self._rewrites else f"{text}\n")
        self._stream.flush()
        self._width = len(text)
