"""The pipeline's interface to its caller: a display of progress, and interruption by signals."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, runtime_checkable

import psutil

from trivmap.processes import largest


@runtime_checkable
class Progress(Protocol):
    """A display of progress."""

    def begin(self, task: str, total: int, done: int = 0) -> None:
        """A task of `total` units starts, `done` of them before."""

    def update(self, done: int, **figures: Any) -> None:
        """`done` units of the present task are complete; `figures` are worth showing."""

    def end(self) -> None:
        """The present task is over."""

    def note(self, text: str) -> None:
        """A line worth keeping on the screen."""


class NoProgress(Progress):
    """Shows nothing."""


@contextmanager
def shown(progress: Progress, task: str, total: int, done: int = 0) -> Iterator[None]:
    """Show a task while the block runs, and end it however the block ends."""
    progress.begin(task, total, done)
    try:
        yield
    finally:
        progress.end()


class Interrupted(Exception):
    """A signal ended the work at a safe point; everything is saved. The message ends with the command to continue."""

    def __init__(self, signal_number: int, message: str):
        super().__init__(message)
        self.signal_number = signal_number

    def going_on_with(self, command: str) -> "Interrupted":
        """The same, with another command to continue: a step of a larger command only knows its own."""
        return Interrupted(self.signal_number, f"{str(self).partition('; continue with')[0]}; continue with {command}")


class Interruption:
    """True if SIGINT or SIGTERM has arrived since `catching`; a second signal ends the process at once.

    Any of several processes of one run may have received the signal; all must check at the same points of their work.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        """The signal that the processes have agreed on."""
        self._told = 0

    def __bool__(self) -> bool:
        # A signal may arrive while the processes communicate; its number must survive the answer.
        self.signal_number = largest(self._told) or None
        return self.signal_number is not None

    def tell(self, number: int) -> None:
        """Record a signal."""
        self._told = number

    @classmethod
    @contextmanager
    def catching(cls) -> Iterator["Interruption"]:
        """Replace the handlers while the block runs; a signal that no check has seen by its end is sent again.

        Outside the main thread nothing is caught.
        """
        interruption = cls()
        if threading.current_thread() is not threading.main_thread():
            yield interruption
            return

        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def handle(number: int, frame: FrameType | None) -> None:
            interruption.tell(number)
            restore()
            if callable(before[signal.SIGTERM]):
                # The command line's own handler would have to wait for the program that is running.
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

        for number in before:
            signal.signal(number, handle)
        try:
            yield interruption
        finally:
            restore()
        if interruption._told and interruption.signal_number is None:
            signal.raise_signal(interruption._told)

    def check(self, message: str) -> None:
        """Raise `Interrupted` if a signal has arrived."""
        if self and self.signal_number is not None:
            raise Interrupted(self.signal_number, message)


class Clock:
    """Wall seconds of a run: `elapsed` at its start, the time since then, and the sessions `before` it."""

    def __init__(self, before: float = 0.0, elapsed: float = 0.0):
        self.before = before
        self._start = time.monotonic() - elapsed

    @property
    def session(self) -> float:
        """Seconds of this session."""
        return time.monotonic() - self._start

    @property
    def total(self) -> float:
        """Seconds of all sessions."""
        return self.before + self.session


_OLDEST = 600.0
"""Most seconds that a process may have worked before it asks for its age; a larger age means that the clock was set."""


def process_age() -> float:
    """Seconds since this process started, since a user of the command line also waits for imports.

    Uses a monotonic clock if the system has one: the wall clock may step by days after a boot.
    """
    with contextlib.suppress(OSError, AttributeError, ValueError, IndexError):
        # The name, in parentheses, may contain any character; the start time is the 20th field after it.
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    age = time.time() - psutil.Process().create_time()
    return age if 0 <= age <= _OLDEST else 0.0
