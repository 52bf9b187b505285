"""The progress of a study: on its own terminal, or on another one."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trivmap.cli.terminal import say

if TYPE_CHECKING:
    from trivmap.studies.scaling.directory import StudyDirectory
    from trivmap.studies.scaling.status import RunStatus


def watch(root: Path) -> None:
    """Show the progress of a study that another process drives, until no run is left; once if there is no terminal."""
    from trivmap.cli.display import console as make_console
    from trivmap.studies.scaling.directory import StudyDirectory
    from trivmap.studies.scaling.status import statuses

    directory, console = StudyDirectory.open(root), make_console()
    if not console.is_terminal:
        for status in statuses(directory):
            say(line(status))
        return
    with Watch(directory, console) as display:
        while not display.settled:
            display.refresh()
            time.sleep(1)


class Watch:
    """A study's progress: a table in a terminal; otherwise a line whenever a run changes its state."""

    def __init__(self, directory: "StudyDirectory", *consoles: Any):
        self._directory, self._consoles = directory, consoles
        self._terminal = next((each for each in consoles if each.is_terminal), None)
        self._live: Any = None
        self._said: dict[str, str] = {}
        self._known: dict[str, RunStatus] = {}
        self._next = 0.0
        self.settled = False

    def __enter__(self) -> "Watch":
        from rich.live import Live

        if self._terminal is not None:
            self._live = Live(console=self._terminal, auto_refresh=False, vertical_overflow="visible")
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self.refresh(now=True)
            self._live.stop()

    def note(self, text: str) -> None:
        """Print a line that stays."""
        for console in self._consoles:
            console.print(text, markup=False, soft_wrap=True)

    def refresh(self, now: bool = False) -> None:
        """Read the runs' files and show the changes, at most once in two seconds."""
        if not now and time.monotonic() < self._next:
            return
        from trivmap.studies.scaling.status import statuses

        self._next = time.monotonic() + 2
        found = statuses(self._directory, self._known)
        self.settled = all(status.state in ("complete", "failed") for status in found)
        if self._live is not None and self._terminal is not None:
            self._live.update(_shown(found, self._terminal.height), refresh=True)
        for status in found:
            if self._said.get(status.name, "waiting") != status.state:
                self._said[status.name] = status.state
                for console in self._consoles:
                    if console is not self._terminal:
                        console.print(line(status), markup=False, soft_wrap=True)


def line(status: "RunStatus") -> str:
    """One run in one line."""
    from trivmap.reports.formats import duration

    parts = [f"{status.name:40}", f"{status.state:8}", f"{status.step:>6}/{status.steps}"]
    parts.append(f"acceptance {status.acceptance:.3f}" if status.acceptance is not None else "")
    parts.append(f"{duration(status.seconds_left)} left" if status.seconds_left is not None else "")
    parts.append(status.reason or "")
    return "  ".join(part for part in parts if part)


def _shown(found: list["RunStatus"], height: int) -> Any:
    """The lines that fit; if not all of them do, running and failed runs come first."""
    from rich.text import Text

    counts = {state: sum(status.state == state for status in found) for state in ("complete", "running", "failed")}
    chosen = found
    if len(found) > height - 3:
        order = {"running": 0, "failed": 1, "waiting": 2, "complete": 3}
        chosen = sorted(found, key=lambda status: order[status.state])[: max(1, height - 3)]
    head = f"{len(found)} runs: " + ", ".join(f"{number} {state}" for state, number in counts.items())
    return Text("\n".join([head, *(line(status) for status in chosen)]))
