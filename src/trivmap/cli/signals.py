"""Signals between the steps of a command, when no step handles them itself."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_AGAIN = 0.05
"""Seconds until a signal is delivered again if it arrived while Python drops exceptions."""


class Stop(KeyboardInterrupt):
    """SIGINT or SIGTERM arrived between two steps."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Stop` in the block when SIGINT or SIGTERM arrives; a signal that is ignored (nohup) stays ignored.

    JAX has a callback in Python's garbage collection. Python drops an exception that is raised there, so the signal is
    delivered once more, a moment later.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    caught = [number for number in numbers if before[number] not in (signal.SIG_IGN, None)]
    hook = sys.unraisablehook

    def handle(number: int, frame: FrameType | None) -> None:
        raise Stop(number)

    def unraisable(args: Any) -> None:
        if isinstance(args.exc_value, Stop):
            threading.Timer(_AGAIN, os.kill, [os.getpid(), args.exc_value.number]).start()
        else:
            hook(args)

    sys.unraisablehook = unraisable
    for number in caught:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, before[number])
        sys.unraisablehook = hook
