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
        self._total = self._done = 0
        self._spoken = 0.0
        self._figures: dict[str, Any] = {}

    def begin(self, task: str, total: int, done: int = 0) -> None:
        self._task, self._total, self._done, self._figures, self._spoken = task, total, done, {}, time.monotonic()
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
            self.note(f"{task}: {done} of {total}")

    def update(self, done: int, **figures: Any) -> None:
        self._done = done
        self._figures |= figures
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, figures=self._text())
        elif time.monotonic() - self._spoken > 10:
            self._spoken = time.monotonic()
            self.note(f"{self._task}: {done} of {self._total}  {self._text()}".rstrip())

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        else:
            how = "done" if self._done >= self._total else f"stopped at {self._done} of {self._total}"
            self.note(f"{self._task}: {how}  {self._text()}".rstrip())

    def note(self, text: str) -> None:
        # A path may hold brackets and be longer than the line.
        self.console.print(text, markup=False, soft_wrap=True)

    def _text(self) -> str:
        return "  ".join(f"{name} {value:.4g}" for name, value in self._figures.items() if self._worth(name, value))

    @staticmethod
    def _worth(name: str, value: Any) -> bool:
        return value is not None and not (name == "temperature" and value == 1.0)
