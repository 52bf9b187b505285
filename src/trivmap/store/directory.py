"""The run directory: one class with the paths of all files and the ways they are written."""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from trivmap.cards.card import RunCard, load_card
from trivmap.errors import InputError
from trivmap.processes import run_on_main
from trivmap.store import metrics
from trivmap.store.files import (
    append_bytes,
    lock,
    new_directory,
    write_environment,
    write_json,
    write_text,
)
from trivmap.store.folders import inside, listed
from trivmap.store.plain import is_file
from trivmap.store.sealed import ENVIRONMENT, ESTIMATE, MAYBE, NUMBER, Shape, read_json
from trivmap.trust import is_trusting

_QUALITY: Shape = {"acceptance?": (ESTIMATE, NoneType), "ess?": (ESTIMATE, NoneType)}
_MILESTONE: Shape = {"steps": int, "configurations": int, "wall_seconds": NUMBER}
_TRAINING: Shape = {
    "steps?": int,
    "configurations?": int,
    "wall_seconds?": NUMBER,
    "acceptance_milestones?": ({"*": (_MILESTONE, NoneType)}, NoneType),
    "evaluation?": (_QUALITY, NoneType),
    "rungs?": [{"steps": int, "evaluation?": (_QUALITY, NoneType)}],
    "metrics?": ({"bytes": int, "sha256": (str, NoneType), "step?": (int, NoneType)}, NoneType),
}
_SAMPLING: Shape = {
    "proposals?": int,
    "wall_seconds?": NUMBER,
    "acceptance?": (ESTIMATE, NoneType),
    "tau_int?": (ESTIMATE, NoneType),
    "ess?": (*MAYBE, ESTIMATE),
    "ess_error?": MAYBE,
    "r_hat?": MAYBE,
    "certificate?": ({"steps": int, "mean": MAYBE, "spread": MAYBE, "passed": bool}, NoneType),
    "probe?": ({"sampler": (str, NoneType)}, NoneType),
    "log_z_shift?": (ESTIMATE, NoneType),
}
_OF_A_SUMMARY: Shape = {
    "schema": int,
    "action?": dict,
    "lattice?": [int],
    "model?": (dict, NoneType),
    "training?": (_TRAINING, NoneType),
    "sampling?": (_SAMPLING, NoneType),
    "log_z?": (ESTIMATE, NoneType),
    "observables?": {"*": {**ESTIMATE, "tau_int?": MAYBE, "tau_int_error?": MAYBE, "source?": str}},
    "untrusted?": ({"*": str}, NoneType),
    "chain_withheld?": (str, NoneType),
    "integration_shift?": ({"*": ESTIMATE}, NoneType),
}
_OF_THE_ENVIRONMENT: Shape = {
    "run?": str,
    "versions?": ({"*": (str, NoneType)}, NoneType),
    "devices?": ([{"platform": str, "kind": str}], NoneType),
    "git?": ({"trivmap?": ({"commit": str}, NoneType)}, NoneType),
}
_OF_A_NEW_RUN = {"config.yaml", ENVIRONMENT, "figures", "metrics.jsonl", "model"}
"""The files that exist before the first step has ended."""


class RunDirectory:
    """A directory that `create` makes and `open` opens; `root` is its path.

    Every file is replaced as a whole or extended by whole lines, so that a kill at any moment leaves each of them
    readable. `locked()` keeps two processes from working in one run.
    """

    def __init__(self, root: Path):
        self.root = root
        self.config_path = root / "config.yaml"
        self.environment_path = root / ENVIRONMENT
        self.metrics_path = root / "metrics.jsonl"
        self.checkpoints_path = root / "checkpoints"
        self.model_path = root / "model"
        self.samples_path = root / "samples.h5"
        self.observables_path = root / "observables.json"
        self.stages_path = root / "stages.json"
        self.certificate_path = root / "certificate.json"
        self.integration_path = root / "integration.h5"
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

        Raises `InputError`, with nothing touched, if `out` exists in any form.
        """
        root = Path(out)
        with new_directory(root, "continue it with trivmap run --resume") as partial:
            unfinished = cls(partial)
            write_text(unfinished.config_path, card.to_yaml())
            write_environment(partial, environment)
            if summary is not None:
                write_json(unfinished.summary_path, finite(summary))
        return cls(root)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "RunDirectory":
        """An existing run; raises `InputError` if there is none."""
        root = Path(path)
        run = cls(root)
        try:
            os.listdir(root)
        except (FileNotFoundError, NotADirectoryError, ValueError) as error:
            raise InputError(f"{root}: no such run directory; trivmap run makes one") from error
        except OSError as error:
            raise InputError(f"{root}: cannot be read ({error.strerror}); check its permissions") from error
        if not is_file(run.config_path):
            raise InputError(f"{root}: is not a run directory, it has no config.yaml; trivmap run makes one")
        return run

    def environment(self) -> dict[str, Any]:
        """The content of `environment.json`, empty if there is none; raises `InputError` if it is damaged."""
        path = self.environment_path
        return read_json(path, "it only describes the machine", shape=_OF_THE_ENVIRONMENT) if is_file(path) else {}

    def card(self) -> RunCard:
        """The run card in `config.yaml`."""
        card = load_card(self.config_path)
        # Versions without this key used the seed alone.
        return card if "common_noise" in card.model_fields_set else card.model_copy(update={"common_noise": True})

    def write_card(self, card: RunCard) -> None:
        """Replace `config.yaml`, for a choice that was made by timing and that the card then fixes."""
        write_text(self.config_path, card.to_yaml())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run for this process and those joined with it; raises `InputError` while another process holds it.

        The system releases the lock when the process ends, even if it is killed. Once the directory is moved or
        replaced, nothing more is written.
        """
        with contextlib.ExitStack() as held:
            run_on_main(lambda: self._lock(held))
            yield

    def _lock(self, held: contextlib.ExitStack) -> str:
        held.enter_context(inside(self.root))
        descriptor, taken = lock(self.root / ".lock")
        held.callback(os.close, descriptor)
        if not taken:
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
        append_bytes(self.metrics_path, line, separator=b"\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The records of `metrics.jsonl`; a line torn by a kill is left out.

        Raises `InputError` if lines that existed when the summary was written are missing or altered.
        """
        if complaint := self.metrics_damage():
            raise InputError(complaint)
        return list(metrics.records(self.metrics_path))

    def metrics_mark(self) -> dict[str, Any]:
        """The length and hash of `metrics.jsonl`, which the summary stores."""
        return metrics.mark(self.metrics_path)

    def metrics_damage(self) -> str | None:
        """A sentence about a `metrics.jsonl` that differs from the record in the summary; None if it agrees."""
        training = self.summary().get("training") if is_file(self.summary_path) and not is_trusting() else None
        found = metrics.damage(self.metrics_path, (training or {}).get("metrics"))
        return found and (
            f"{self.metrics_path}: {found} since the training ended; restore it from a backup, or use what there is "
            "with --trust (no result of the run depends on it)"
        )

    def last_metrics(self) -> dict[str, Any] | None:
        """The last record, even if others are damaged."""
        return metrics.last_record(self.metrics_path)

    def truncate_metrics(self, step: int) -> None:
        """Drop the records after `step`: a resumed training writes them again."""
        metrics.truncate(self.metrics_path, step)

    def summary(self) -> dict[str, Any]:
        """The content of `summary.json`, empty in a directory where nothing has been done yet.

        Raises `InputError` if it is missing, damaged or altered.
        """
        again = f"run trivmap run --resume {self.root}, which writes it again"
        if not is_file(self.summary_path):
            if {name for name in listed(self.root) if not name.startswith(".")} <= _OF_A_NEW_RUN:
                return {}
            raise InputError(f"{self.summary_path}: is missing; {again}")
        shape = _OF_A_SUMMARY
        return read_json(self.summary_path, f"restore it from a backup, or delete it and {again}", shape=shape)

    def update_summary(self, **entries: Any) -> dict[str, Any]:
        """Merge entries into `summary.json` and return all entries; numbers that are not finite become null."""
        merged = finite({**self.summary(), **entries})
        write_json(self.summary_path, merged)
        return merged

    def write_summary(self, content: Mapping[str, Any]) -> None:
        """Replace `summary.json` as a whole."""
        write_json(self.summary_path, finite(content))


def finite(data: Any) -> Any:
    """The data with None for NaN and infinities, which JSON does not have, and Python numbers for NumPy scalars."""
    if isinstance(data, Mapping):
        return {str(key): finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [finite(value) for value in data]
    if hasattr(data, "tolist"):
        return finite(data.tolist())
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data
