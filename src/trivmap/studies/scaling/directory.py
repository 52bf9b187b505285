"""The directory of a study: its card, one run directory for every point of the grid, and their outcome."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trivmap.errors import InputError, cut
from trivmap.store.directory import RunDirectory
from trivmap.store.environment import describe_software
from trivmap.store.files import lock, new_directory, write_environment, write_json, write_text
from trivmap.store.folders import inside, own_folder
from trivmap.store.locks import try_lock
from trivmap.store.plain import is_file, open_plain
from trivmap.store.sealed import Shape, read_json, read_list
from trivmap.studies.scaling.card import StudyCard, StudyRun, load_study_card


class StudyDirectory:
    """A directory that `create` makes and `open` opens; `root` is its path."""

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
        """Make the directory with its card, in one step; every run is made when its turn comes.

        Raises `InputError`, with nothing touched, if `out` exists in any form.
        """
        root = Path(out)
        with new_directory(root, "continue with trivmap study --resume") as partial:
            unfinished = cls(partial)
            write_text(unfinished.card_path, card.to_yaml())
            write_environment(partial, describe_software())
            for path in (unfinished.runs_path, unfinished.done_path, unfinished.failed_path):
                path.mkdir()
        return cls(root)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "StudyDirectory":
        """An existing study; raises `InputError` if there is none."""
        directory = cls(Path(path))
        if not is_file(directory.card_path):
            raise InputError(f"{path}: is not a study, it has no study.yaml; trivmap study makes one")
        return directory

    def card(self) -> StudyCard:
        """The study card in `study.yaml`, read once: it never changes."""
        if self._card is None:
            self._card = load_study_card(self.card_path)
        return self._card

    def run(self, name: str) -> RunDirectory:
        """The directory of a run, which may not exist yet."""
        return RunDirectory(self.runs_path / name)

    def done(self, name: str) -> dict[str, Any] | None:
        """The facts that a run recorded when it was complete, None before."""
        return self._noted(self.done_path / f"{name}.json", "completed", {"operations?": list, "exclusive?": bool})

    def incomplete(self) -> list[str]:
        """The runs that are not complete, each after the run that it starts from.

        They are ordered by seed, so that runs which only differ by the seed find the programs that an earlier run
        compiled.
        """
        runs = sorted(self.card().runs.items(), key=lambda item: item[1].seed)
        return [name for name, _ in runs if self.done(name) is None]

    def complete(self, name: str, facts: dict[str, Any]) -> None:
        """Mark a run as complete, all or nothing."""
        with inside(self.root):
            write_json(self.done_path / f"{name}.json", facts, self.root)
            with contextlib.suppress(FileNotFoundError):
                (self.failed_path / f"{name}.json").unlink()

    def gone(self, name: str) -> str:
        """The sentence about a complete run without results; the caller adds the subject."""
        return (
            f"is marked as complete, but its results are gone; delete {self.done_path / name}.json and continue with "
            f"trivmap study --resume {self.root}"
        )

    def failed(self, name: str) -> dict[str, Any] | None:
        """The number of attempts that failed since the last success, and the last reason; None if none has."""
        return self._noted(self.failed_path / f"{name}.json", "tried", {"attempts": int, "reason": str})

    def _noted(self, path: Path, how: str, shape: Shape) -> dict[str, Any] | None:
        with inside(self.root):
            remedy = f"delete it to have the run {how} again"
            return read_json(path, remedy, shape=shape, root=self.root) if is_file(path) else None

    def note_failure(self, name: str, reason: str) -> None:
        """Record one more failed attempt."""
        before = self.failed(name) or {"attempts": 0}
        with inside(self.root):
            noted = {"attempts": before["attempts"] + 1, "reason": reason}
            write_json(self.failed_path / f"{name}.json", noted, self.root)

    @contextlib.contextmanager
    def session(self, name: str, exclusive: Callable[[], bool]) -> Iterator[list[bool]]:
        """Record that a process works on a run; yields whether each such process had its processors to itself.

        For this process the answer is known at the end of the block; after a kill, the record says that it had not.
        """
        path = self.sessions_path / f"{name}.json"
        with inside(self.root):
            own_folder(self.sessions_path)
            sessions = [*(read_list(path, "delete it") if is_file(path) else []), False]

        def note(alone: bool) -> None:
            sessions[-1] = alone
            with inside(self.root):
                write_json(path, sessions)

        note(False)
        try:
            yield sessions
        except BaseException:
            # The exception that ended the work matters more than the record of it.
            with contextlib.suppress(InputError, OSError):
                note(exclusive())
            raise
        note(exclusive())

    @contextlib.contextmanager
    def claimed(self, name: str) -> Iterator[None]:
        """Claim a run for this process; waits for another process that holds it.

        The system releases the claim when the process ends, even if it is killed.
        """
        with inside(self.root):
            descriptor, taken = lock(self.runs_path / f".{name}.claim")
            try:
                while not taken:
                    time.sleep(0.5)
                    taken = try_lock(descriptor)
                yield
            finally:
                os.close(descriptor)

    def is_claimed(self, name: str) -> bool:
        """True if a process is working on a run."""
        path = self.runs_path / f".{name}.claim"
        with inside(self.root):
            if not is_file(path):
                return False
            descriptor = open_plain(path, os.O_RDONLY)
        try:
            return not try_lock(descriptor, shared=True)
        finally:
            os.close(descriptor)

    def found(self, name: str) -> StudyRun:
        """A run of the card by its name."""
        runs = self.card().runs
        if name not in runs:
            raise InputError(f"{self.root}: has no run {cut(name)}; trivmap study --watch {self.root} lists them")
        return runs[name]
