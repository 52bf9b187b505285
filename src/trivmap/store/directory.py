"""The run directory: one class that knows where everything is kept and how it is written."""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trivmap.cards.card import RunCard, load_card
from trivmap.errors import InputError
from trivmap.processes import by_first
from trivmap.store.files import (
    append_bytes,
    new_directory,
    read_json,
    storing,
    try_lock,
    write_bytes,
    write_json,
    write_text,
)


class RunDirectory:
    """A directory made by `create` and found again by `open`; `root` is its path.

    Every file is replaced as a whole or appended to by whole lines, so that a kill at any moment leaves each of them
    readable. `locked()` keeps two processes from working in one run.
    """

    def __init__(self, root: Path):
        self.root = root
        self.config_path = root / "config.yaml"
        self.environment_path = root / "environment.json"
        self.metrics_path = root / "metrics.jsonl"
        self.checkpoints_path = root / "checkpoints"
        self.model_path = root / "model"
        self.samples_path = root / "samples.h5"
        self.observables_path = root / "observables.json"
        self.stages_path = root / "stages.json"
        self.certificate_path = root / "certificate.json"
        self.summary_path = root / "summary.json"
        self.report_path = root / "report.html"
        self.figures_path = root / "figures"

    @classmethod
    def create(
        cls,
        out: str | os.PathLike[str],
        card: RunCard,
        environment: Mapping[str, Any],
        summary: Mapping[str, Any] | None = None,
    ) -> "RunDirectory":
        """Make the directory with its `config.yaml`, `environment.json` and a first `summary.json`, all at once.

        Raises `InputError`, nothing touched, if `out` exists in whatever form.
        """
        root = Path(out)
        with new_directory(root, "resume it with trivmap train --resume") as partial:
            unfinished = cls(partial)
            write_text(unfinished.config_path, card.to_yaml())
            write_json(unfinished.environment_path, dict(environment))
            if summary is not None:
                write_json(unfinished.summary_path, finite(summary))
        return cls(root)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "RunDirectory":
        """An existing run; raises `InputError` where there is none."""
        root = Path(path)
        run = cls(root)
        if not root.is_dir():
            raise InputError(f"{root}: no such run directory; trivmap run makes one")
        if not run.config_path.is_file():
            raise InputError(f"{root}: is no run directory, it has no config.yaml; trivmap run makes one")
        return run

    def card(self) -> RunCard:
        """The run card in `config.yaml`."""
        card = load_card(self.config_path)
        # Versions that knew no such key drew from the seed alone.
        return card if "common_noise" in card.model_fields_set else card.model_copy(update={"common_noise": True})

    def write_card(self, card: RunCard) -> None:
        """Replace `config.yaml`: for a choice made by timing, which the card then fixes."""
        write_text(self.config_path, card.to_yaml())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process and those joined with it; raises `InputError` while another one does.

        The system drops the lock with the process, so that a killed one leaves none behind.
        """
        with contextlib.ExitStack() as held:
            by_first(lambda: self._lock(held))
            yield

    def _lock(self, held: contextlib.ExitStack) -> str:
        path = self.root / ".lock"
        with storing(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        held.callback(os.close, descriptor)
        if not try_lock(descriptor):
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            raise InputError(
                f"{self.root}: process {holder or '?'} is working in this run; wait for it or stop it first"
            )
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        return ""

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Add one line to `metrics.jsonl`; numbers that are not finite are written as null."""
        line = (json.dumps(finite(record), allow_nan=False) + "\n").encode()
        with storing(self.metrics_path):
            append_bytes(self.metrics_path, line, separator=b"\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The records of `metrics.jsonl`; a line torn by a kill is left out."""
        if not self.metrics_path.exists():
            return []
        records = []
        for line in self.metrics_path.read_bytes().split(b"\n"):
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict):
                    records.append(record)
        return records

    def truncate_metrics(self, step: int) -> None:
        """Drop the records after `step`: a resumed training writes them again."""
        if not self.metrics_path.exists():
            return
        kept = [record for record in self.metrics() if record.get("step", 0) <= step]
        write_text(self.metrics_path, "".join(json.dumps(record) + "\n" for record in kept))

    def summary(self) -> dict[str, Any]:
        """The content of `summary.json`, empty before anything is known."""
        if not self.summary_path.exists():
            return {}
        return read_json(self.summary_path, "restore it from a backup, or start a new run")

    def update_summary(self, **entries: Any) -> dict[str, Any]:
        """Merge entries into `summary.json` and return the whole; numbers that are not finite become null."""
        merged = finite({**self.summary(), **entries})
        write_json(self.summary_path, merged)
        return merged

    def write_figure(self, name: str, png: bytes) -> Path:
        """Keep a picture as `figures/NAME.png`."""
        with storing(self.figures_path):
            self.figures_path.mkdir(exist_ok=True)
        path = self.figures_path / f"{name}.png"
        write_bytes(path, png)
        return path


def finite(data: Any) -> Any:
    """The data with NaN and infinities, which JSON does not have, replaced by None and NumPy scalars by Python's."""
    if isinstance(data, Mapping):
        return {str(key): finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [finite(value) for value in data]
    if hasattr(data, "tolist"):
        return finite(data.tolist())
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data
