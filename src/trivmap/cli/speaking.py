"""The output of a command about its work: on stderr unless it is quiet, and in a log file if there is one."""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trivmap.cli.terminal import printable, say
from trivmap.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from trivmap.runs.progress import Progress

_QUIET = click.option("--quiet", "-q", is_flag=True, help="Show only errors on stderr.")
_LOG_FILE = click.option(
    "--log-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Append every line of progress, every note and every error to this file, with the time.",
)


def speaking_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options of a command that shows progress; `trivmap.cli.main.command` applies them."""
    return _QUIET(_LOG_FILE(function))


class _Stamped:
    """A text file with the time at the beginning of each line, flushed at once; after a failure nothing is written."""

    def __init__(self, file: Any, path: Path):
        self._file, self._path, self._begun = file, path, False

    def write(self, text: str) -> int:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S ")
        for line in text.splitlines(keepends=True):
            self._put(line if self._begun else stamp + line)
            self._begun = not line.endswith("\n")
        return len(text)

    def _put(self, text: str) -> None:
        if self._file.closed:
            return
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.close()
            say(
                f"trivmap: --log-file {self._path}: is no longer written ({error.strerror}); the work continues",
                err=True,
            )

    def flush(self) -> None:
        """Every line is flushed as it is written."""


_quiet: ContextVar[bool] = ContextVar("quiet", default=False)
_log: ContextVar[_Stamped | None] = ContextVar("log", default=None)


@contextlib.contextmanager
def speaking(quiet: bool, log_file: Path | None) -> Iterator[None]:
    """Report the work in the block according to the options.

    Args:
        quiet: whether nothing but errors is shown on stderr.
        log_file: the file that lines are appended to.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(_quiet.reset, _quiet.set(quiet))
        if log_file is not None:
            try:
                file = stack.enter_context(open(log_file, "a", encoding="utf-8", errors="backslashreplace"))
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else error
                raise InputError(
                    f"--log-file {log_file}: cannot be written ({why}); name a file in a folder that exists"
                ) from error
            stack.callback(_log.reset, _log.set(_Stamped(file, log_file)))
        yield


def progress() -> "Progress":
    """The display for the progress of a command's steps."""
    from trivmap.cli.display import Display
    from trivmap.runs.progress import NoProgress

    shown: list[Progress] = [Display(each) for each in consoles()]
    return shown[0] if len(shown) == 1 else _Several(shown) if shown else NoProgress()


def consoles() -> "list[Console]":
    """stderr, unless the command is quiet, and the log file, if there is one."""
    from trivmap.cli.display import console

    log: Any = _log.get()
    return [*([] if _quiet.get() else [console(stderr=True)]), *([console(file=log)] if log is not None else [])]


def note(text: str) -> None:
    """Print a line that is not an error on stderr, and in the log file."""
    log(text)
    if not _quiet.get():
        say(text, err=True)


def log(text: str) -> None:
    """Write a line in the log file, if there is one."""
    if (file := _log.get()) is not None:
        file.write(f"{printable(text)}\n")


class _Several:
    """Progress that is shown in several places."""

    def __init__(self, shown: "list[Progress]"):
        self._shown = shown

    def begin(self, task: str, total: int, done: int = 0) -> None:
        for each in self._shown:
            each.begin(task, total, done)

    def update(self, done: int, **figures: Any) -> None:
        for each in self._shown:
            each.update(done, **figures)

    def end(self) -> None:
        for each in self._shown:
            each.end()

    def note(self, text: str) -> None:
        for each in self._shown:
            each.note(text)
