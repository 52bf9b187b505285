"""The settings of the command line's own process, and its treatment of errors: the library sets nothing."""

import contextlib
import errno
import io
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from os import _exit
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from trivmap.cli.speaking import log, note, progress
from trivmap.cli.terminal import one_line, say
from trivmap.errors import InputError, shown

if TYPE_CHECKING:
    from trivmap.cards.card import RunCard
    from trivmap.runs.progress import Progress

USER_ERROR = 2
_SURROUNDINGS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG),
    *(errno.ENFILE, errno.EMFILE, errno.ENOMEM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ESTALE),
}
"""Errors that come from the machine and not from a defect of the library."""
_LONGEST_PART, _LONGEST_PATH = 220, 3000
"""Most bytes of a name and of a path, with room left for the files written beside and below it."""


@contextmanager
def one_sentence() -> Iterator[None]:
    """Print the message for a user's mistake or a signal as one line, without a traceback."""
    try:
        yield
        # Buffered output is written here, so that a failure to write it is reported as one sentence too.
        sys.stdout.flush()
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        _end_by(error)
        raise


def _end_by(error: BaseException) -> None:
    """End the process for an error that has a sentence; return if the error is a defect of the library."""
    if isinstance(error, InputError) and "jax" not in sys.modules:
        # Then there is one process. Importing JAX takes a second, and may fail for the same reason.
        _end(USER_ERROR, f"trivmap: {one_line(str(error))}")
    from trivmap.cli.signals import Stop
    from trivmap.processes import RaisedOnMain, is_distributed, is_main_process
    from trivmap.runs.progress import Interrupted

    match error:
        case RaisedOnMain():
            _end(USER_ERROR)
        case InputError():
            which = "" if is_main_process() else f"process {os.getpid()}: "
            _end(USER_ERROR, f"trivmap: {which}{one_line(str(error))}")
        case Interrupted():
            # The shell's exit code for a program that a signal ended.
            _end(128 + error.signal_number, f"trivmap: {error}" if is_main_process() else None)
        case Stop() | KeyboardInterrupt():
            number = error.number if isinstance(error, Stop) else signal.SIGINT
            _end(128 + number, "trivmap: interrupted; finished steps are kept")
        case MemoryError():
            _end(
                USER_ERROR,
                "trivmap: there is not enough memory for this; take a machine with more, or a smaller lattice",
            )
        case OSError() if error.errno in _SURROUNDINGS:
            if error.filename is None:
                _abandon_output()
            _end(USER_ERROR, f"trivmap: {_shown(error.filename) or 'standard output'}: {error.strerror}")
        case Exception() if not isinstance(error, OSError) and is_distributed():
            traceback.print_exception(error)
            _end(1)


def _shown(path: object) -> str:
    text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
    return text if len(text) <= 200 else f"{text[:100]}...{text[-97:]}"


def _abandon_output() -> None:
    """Discard output that did not fit on a full disk: Python would try again at exit, and report an error."""
    with contextlib.suppress(OSError, ValueError, io.UnsupportedOperation):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())


def require_possible(path: Path) -> None:
    """Refuse a path that cannot name a file or directory here."""
    text = os.fspath(path)
    if "\0" in text:
        raise InputError(f"{_shown(path)!r}: has a NUL character, which no path may have")
    parts = os.fsencode(text).split(b"/")
    if len(os.fsencode(text)) > _LONGEST_PATH or max(map(len, parts)) > _LONGEST_PART:
        raise InputError(
            f"{_shown(path)}: the path is too long; give names of at most {_LONGEST_PART} bytes, {_LONGEST_PATH} in all"
        )


@contextmanager
def making(root: Path, way_on: str) -> Iterator[None]:
    """Make the user's directory in the block; `way_on` is the command that continues an existing one."""
    if os.path.lexists(root):
        raise InputError(f"{root}: exists already; give another --out, or {way_on} --resume {root}")
    try:
        yield
    except OSError as error:
        raise InputError(f"{root}: cannot be made there ({error.strerror}); give another --out") from error


def _end(code: int, message: str | None = None) -> NoReturn:
    if message is not None:
        log(message)
        say(message, err=True)
    if "jax" not in sys.modules:
        sys.exit(code)
    from trivmap.processes import is_distributed, is_main_process

    if not is_distributed():
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    if is_main_process():
        # The other processes depend on this one: those that fail for the same reason must end before it.
        time.sleep(2)
    # Python's normal exit would wait for processes that wait for this one.
    _exit(code)


def prepare(card: "RunCard", *, joining: bool = False) -> None:
    """Precision, device and threads of a card, before JAX starts its backend; `joining`: with the other processes."""
    if card.threads is not None and hasattr(os, "sched_setaffinity"):
        # XLA sizes its thread pools by the processors that the process may use.
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[: card.threads])
    start_backend(card.device, joining=joining)
    if joining:
        _require_same_command()


def start_backend(device: str | None = None, *, joining: bool = False) -> None:
    """Start JAX on a device, with double precision enabled."""
    import jax

    jax.config.update("jax_enable_x64", True)
    for name in ("jax_debug_nans", "jax_debug_infs"):
        if getattr(jax.config, name):
            jax.config.update(name, False)
            note(f"trivmap: {name.upper()} is switched off: weights of 0 make infinities in every run")
    if device is not None:
        jax.config.update("jax_platforms", {"gpu": "cuda,rocm"}.get(device, device))
    if joining:
        _join()
    try:
        jax.devices()
    # JAX raises AssertionError for a platform that it knows but does not find.
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).splitlines() or ["no such device was found"])[0]
        if device is not None:
            raise InputError(f"device: {device} is not available here ({reason}); leave it out or use cpu") from error
        asked = os.environ.get("JAX_PLATFORMS")
        raise InputError(
            f"JAX_PLATFORMS: {asked!r} is not available here ({reason}); unset it, or set it to cpu"
        ) from error


def _join() -> None:
    """Join the processes of a launcher into one run, if the environment says that a launcher started this process.

    JAX itself reads JAX_COORDINATOR_ADDRESS and the variables of launchers such as SLURM and Open MPI. Without such a
    launcher, JAX_NUM_PROCESSES and JAX_PROCESS_ID give the other two arguments of `jax.distributed.initialize`.
    """
    address = os.environ.get("JAX_COORDINATOR_ADDRESS")
    tasks = max(_number(name) or 1 for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"))
    if not address and tasks == 1:
        return
    import jax

    count, index = (_number(name) for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"))
    # JAX's own handler would only record a SIGTERM, and not stop the process.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(num_processes=count, process_id=index)
    except (ValueError, RuntimeError) as error:
        sentence = (
            f"JAX_COORDINATOR_ADDRESS: the processes cannot be joined ({str(error).splitlines()[0].rstrip('.')}); set "
            "it to HOST:PORT of the first process, and JAX_NUM_PROCESSES and JAX_PROCESS_ID, or unset it"
        )
        if isinstance(error, ValueError):
            raise InputError(sentence) from error
        say(f"trivmap: {sentence}", err=True)
        # Python's normal exit would wait for a half-open connection.
        _exit(USER_ERROR)
    # The collective operations on CPUs report their connections on standard output, which is reserved for results.
    results = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(results, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)


def _require_same_command() -> None:
    from trivmap.processes import largest, run_on_main

    own = " ".join(sys.argv[1:])
    theirs = run_on_main(lambda: own)
    if largest(own != theirs):
        raise InputError(f"trivmap {own}: the processes of one run need the same command, the first has {theirs}")


def _number(name: str) -> int | None:

    text = os.environ.get(name)
    if text is None:
        return None
    if text.isdecimal() and len(text) < 10:
        return int(text)
    raise InputError(f"{name}: must be a whole number, got {shown(text)}")


def exit_workers() -> None:
    """End the other processes: the first one does the rest of the work alone."""
    import jax

    from trivmap.processes import is_distributed, is_main_process

    if is_distributed():
        done = not is_main_process()
        jax.distributed.shutdown()
        if done:
            sys.exit()


def shown_progress() -> "Progress":
    """The display of progress; processes other than the first show nothing."""
    from trivmap.processes import is_main_process
    from trivmap.runs.progress import NoProgress

    return progress() if is_main_process() else NoProgress()


def quieten_dependencies() -> None:
    """Ignore a dependency's warning about its own imports, even if warnings are errors."""
    warnings.filterwarnings("ignore", message=".scipy.odr. is deprecated", category=DeprecationWarning)


def allow_own_modules() -> None:
    """Let `kind: my_module:MyAction` find modules of the working directory, as `python -m` does."""
    try:
        folder = os.getcwd()
    except FileNotFoundError as error:
        raise InputError("the working directory is gone; change to one that exists") from error
    if folder not in sys.path:
        sys.path.append(folder)


def new_run_path(name: str) -> Path:
    """runs/NAME, or runs/NAME-2 and so on if that is taken."""
    path, number = Path("runs") / name, 1
    while path.exists():
        number += 1
        path = Path("runs") / f"{name}-{number}"
    return path
