"""One run of a study as a process of its own."""

import contextlib
import os
import signal
import subprocess
import sys

from trivmap.store.files import write_bytes
from trivmap.store.plain import open_plain
from trivmap.studies.scaling.directory import StudyDirectory

_INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM)


class Attempt:
    """A process that completes a run, started at once. It stops at a safe point when this process ends.

    With `trust` it uses altered files of the study, and code that only they name. The caller has already decided about
    code that the study's card names.
    """

    def __init__(self, directory: StudyDirectory, name: str, *, trust: bool = False):
        self.directory, self.name = directory, name
        self._before, self._log = directory.failed(name), directory.runs_path / f".{name}.log"
        root = str(directory.root.resolve())
        command = ["study", "--resume", root, "--run", name, "--while-parent-lives", *(["--trust"] if trust else [])]
        write_bytes(self._log, b"")
        with os.fdopen(open_plain(self._log, os.O_WRONLY | os.O_APPEND), "ab") as output:
            self._process = subprocess.Popen(
                # -P: modules of the working directory come last, as in the command.
                [sys.executable, "-P", "-m", "trivmap", *command],
                # This end closes when this process ends for any reason: the run then stops at a safe point.
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                # Only the command itself handles signals from the terminal.
                start_new_session=True,
            )

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        """Ask the process to stop at a safe point, without waiting for it."""
        if not self.ended:
            self._process.terminate()

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the end of the process, at most `seconds`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def failure(self) -> str | None:
        """The reason why a run is not complete after its process, or None; a silent end is recorded as a failure."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self.directory.done(self.name) is not None:
            return None
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = lines[-1].removeprefix("trivmap: ") if lines else "no message"
        reason = f"{reason} (exit code {self._process.returncode}; see {self._log})"
        if self.directory.failed(self.name) == self._before and self._process.returncode not in _INTERRUPTED:
            # It ended without a message, for example because it was killed for its memory.
            self.directory.note_failure(self.name, reason)
        return reason
