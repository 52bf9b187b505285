"""Progress in a terminal, or as plain lines where there is none."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Display:
    """Shows the pipeline's progress on stderr: a bar in a terminal, a line every ten seconds elsewhere."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._task = ""
        self._total = 0
        self._spoken = 0.0
        self._figures: dict[str, Any] = {}

    def begin(self, task: str, total: int, done: int = 0) -> None:
        self._task, self._total, self._figures, self._spoken = task, total, {}, time.monotonic()
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
            self._bar.add_task(task, total=total, completed=done, figures="compiling" if task == "train" else "")
            self._bar.start()
        else:
            self.console.print(f"{task}: {done} of {total}")

    def update(self, done: int, **figures: Any) -> None:
        self._figures |= figures
        text = "  ".join(f"{name} {value:.4g}" for name, value in self._figures.items() if self._worth(name, value))
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, figures=text)
        elif time.monotonic() - self._spoken > 10:
            self._spoken = time.monotonic()
            self.console.print(f"{self._task}: {done} of {self._total}  {text}".rstrip())

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        else:
            text = "  ".join(f"{name} {value:.4g}" for name, value in self._figures.items() if self._worth(name, value))
            self.console.print(f"{self._task}: done  {text}".rstrip())

    def note(self, text: str) -> None:
        self.console.print(text)

    @staticmethod
    def _worth(name: str, value: Any) -> bool:
        return value is not None and not (name == "temperature" and value == 1.0)
