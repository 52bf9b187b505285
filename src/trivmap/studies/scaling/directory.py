"""The directory of a study: its card, one run directory for every point of the grid, and what came of them."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trivmap.errors import InputError
from trivmap.store.directory import RunDirectory
from trivmap.store.files import new_directory, read_json, storing, try_lock, write_json, write_text
from trivmap.studies.scaling.card import StudyCard, StudyRun, load_study_card


class StudyDirectory:
    """A directory made by `create` and found again by `open`; `root` is its path."""

    def __init__(self, root: Path):
        self.root = root
        self.card_path = root / "study.yaml"
        self.runs_path = root / "runs"
        self.done_path = root / "done"
        self.failed_path = root / "failed"
        self.sessions_path = root / "sessions"
        self.result_path = root / "study.json"
        self.page_path = root / "study.html"
        self._card: StudyCard | None = None

    @classmethod
    def create(cls, out: str | os.PathLike[str], card: StudyCard) -> "StudyDirectory":
        """Make the directory with its card, all at once; every run is made when its turn comes.

        Raises `InputError`, nothing touched, if `out` exists in whatever form.
        """
        root = Path(out)
        with new_directory(root, "go on with trivmap study --resume") as partial:
            unfinished = cls(partial)
            write_text(unfinished.card_path, card.to_yaml())
            for path in (unfinished.runs_path, unfinished.done_path, unfinished.failed_path):
                path.mkdir()
        return cls(root)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "StudyDirectory":
        """An existing study; raises `InputError` where there is none."""
        directory = cls(Path(path))
        if not directory.card_path.is_file():
            raise InputError(f"{path}: is no study, it has no study.yaml; trivmap study makes one")
        return directory

    def card(self) -> StudyCard:
        """The study card in `study.yaml`, read once: it never changes."""
        if self._card is None:
            self._card = load_study_card(self.card_path)
        return self._card

    def run(self, name: str) -> RunDirectory:
        """The directory of a run, made or not."""
        return RunDirectory(self.runs_path / name)

    def done(self, name: str) -> dict[str, Any] | None:
        """What a run noted when it was complete, None before."""
        path = self.done_path / f"{name}.json"
        return read_json(path, "delete it to have the run completed again") if path.exists() else None

    def complete(self, name: str, facts: dict[str, Any]) -> None:
        """Mark a run as complete, all or nothing."""
        write_json(self.done_path / f"{name}.json", facts)
        with contextlib.suppress(FileNotFoundError):
            (self.failed_path / f"{name}.json").unlink()

    def failed(self, name: str) -> dict[str, Any] | None:
        """Attempts that failed since the last success, and the last reason; None if none has."""
        path = self.failed_path / f"{name}.json"
        return read_json(path, "delete it to have the run tried again") if path.exists() else None

    def note_failure(self, name: str, reason: str) -> None:
        """Count one more attempt that failed."""
        before = self.failed(name) or {"attempts": 0}
        write_json(self.failed_path / f"{name}.json", {"attempts": before["attempts"] + 1, "reason": reason})

    @contextlib.contextmanager
    def session(self, name: str, exclusive: Callable[[], bool]) -> Iterator[list[bool]]:
        """A process works on a run; yields whether each that did so had its processors to itself, from first to last.

        Of this one that is known at the end of the block; a kill leaves that it had not.
        """
        self.sessions_path.mkdir(exist_ok=True)
        path = self.sessions_path / f"{name}.json"
        sessions = [*(read_json(path, "delete it") if path.exists() else []), False]

        def note(alone: bool) -> None:
            sessions[-1] = alone
            write_json(path, sessions)

        note(False)
        try:
            yield sessions
        except BaseException:
            # What ended the work is worth more than the note.
            with contextlib.suppress(InputError, OSError):
                note(exclusive())
            raise
        note(exclusive())

    @contextlib.contextmanager
    def claimed(self, name: str) -> Iterator[None]:
        """Hold a run for this process, waiting for another one that does.

        The system drops the claim with the process, so that a killed one leaves none behind.
        """
        path = self.runs_path / f".{name}.claim"
        with storing(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            while not try_lock(descriptor):
                time.sleep(0.5)
            yield
        finally:
            os.close(descriptor)

    def is_claimed(self, name: str) -> bool:
        """Whether a process works on a run at this moment."""
        path = self.runs_path / f".{name}.claim"
        if not path.exists():
            return False
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return not try_lock(descriptor, shared=True)
        finally:
            os.close(descriptor)

    def found(self, name: str) -> StudyRun:
        """A run of the card by its name."""
        runs = self.card().runs
        if name not in runs:
            raise InputError(f"{self.root}: has no run {name}; trivmap study --watch {self.root} lists them")
        return runs[name]
