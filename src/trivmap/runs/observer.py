"""Records training: metrics, milestones, checkpoints."""

from collections.abc import Callable, Sequence
from typing import Any

from trivmap.estimate import Estimate
from trivmap.processes import is_main_process
from trivmap.runs.progress import Clock, Interruption, Progress
from trivmap.store.checkpoints import CheckpointStore
from trivmap.store.directory import RunDirectory, finite
from trivmap.store.plain import size
from trivmap.training import Evaluation, Logger, TrainingState
from trivmap.training.loggers import Loggers, plain

MILESTONES = ("0.5", "0.7", "0.9")

_FIXED = ("seed", "common_noise", "ladder", "generator", "data", "fields")
"""Facts about the steps already taken, which every checkpoint repeats."""


class RunObserver:
    """The observer of a training run in a run directory.

    A milestone is the first evaluation whose acceptance minus one error exceeds the target. `compiling` returns
    the seconds that this session has spent on compilation. `loggers` receive the scalars of what metrics.jsonl gets.
    """

    def __init__(
        self,
        run: RunDirectory,
        store: CheckpointStore,
        clock: Clock,
        progress: Progress,
        interruption: Interruption,
        metadata: dict[str, Any] | None = None,
        compiling: Callable[[], float] = lambda: 0.0,
        loggers: Sequence[Logger] = (),
    ):
        self._run, self._store, self._clock = run, store, clock
        self._progress, self._interruption = progress, interruption
        self._loggers = Loggers(loggers if is_main_process() else (), progress.note)
        metadata = metadata or {}
        self.milestones: dict[str, Any] = metadata.get("milestones") or dict.fromkeys(MILESTONES)
        self.evaluation: dict[str, Any] | None = metadata.get("evaluation")
        """The latest evaluation, with its step."""
        self.evaluation_seconds: float = metadata.get("evaluation_seconds", 0.0)
        self._compile_before: float = metadata.get("compile_seconds", 0.0)
        self._compiling = compiling
        self.before: dict[str, int] = metadata.get("before") or {"rung": 0, "steps": 0, "configurations": 0}
        """The rung of the ladder that is being trained, and the cost of the rungs below it."""
        self.rungs: list[dict[str, Any]] = metadata.get("rungs") or []
        """The outcome of the rungs below."""
        self._final = True
        self._fixed = {name: metadata.get(name) for name in _FIXED}
        self._last: dict[str, Any] = {name: metadata.get(name, 0) for name in ("steps", "configurations")}

    @property
    def compile_seconds(self) -> float:
        """Seconds of all sessions."""
        return self._compile_before + self._compiling()

    def fix(self, name: str, value: Any) -> None:
        """Record a fact that every later checkpoint repeats."""
        self._fixed[name] = value

    def next_rung(self, rung: int, final: bool) -> None:
        """Training continues with the next rung of the ladder; only the last rung has milestones."""
        self._final = final
        if rung != self.before["rung"]:
            total = {name: self._last[name] for name in ("steps", "configurations")}
            self.rungs = [*self.rungs, {**total, "wall_seconds": self._clock.total, "evaluation": self.evaluation}]
            self.before = {"rung": rung, **total}
            self.evaluation = None

    def logged(self, record: dict[str, Any]) -> None:
        record = record | {
            "step": record["step"] + self.before["steps"],
            "configurations": record["configurations"] + self.before["configurations"],
        }
        if not self._final or self.rungs:
            record["rung"] = self.before["rung"]
        self._last = record | {"steps": record["step"]}
        self._keep({**record, "seconds": self._clock.total})
        shown = {name: record[name] for name in ("loss", "ess", "temperature") if name in record}
        if self.evaluation:
            shown["acceptance"] = self.evaluation["acceptance"]["value"]
        self._progress.update(record["step"], **shown)

    def evaluated(self, step: int, evaluation: Evaluation, seconds: float) -> None:
        self.evaluation_seconds += seconds
        step += self.before["steps"]
        found = plain(evaluation)
        # A single infinite weight makes the numbers NaN, which JSON cannot represent.
        self.evaluation = finite({"step": step, **found})
        cost = {"steps": step, "configurations": self._last["configurations"], "wall_seconds": self._clock.total}
        acceptance = evaluation.acceptance
        for target in MILESTONES:
            if self._final and self.milestones[target] is None and acceptance.value - acceptance.error > float(target):
                self.milestones[target] = cost
        self._keep(
            {
                "step": step,
                "configurations": cost["configurations"],
                "seconds": cost["wall_seconds"],
                "evaluation": {**found, "seconds": seconds},
            }
        )
        self._progress.update(step, acceptance=acceptance.value, ess=evaluation.ess.value)

    def _keep(self, record: dict[str, Any]) -> None:
        self._run.append_metrics(record)
        self._loggers.log(record)

    def close(self) -> None:
        """Training has ended: the loggers are closed."""
        self._loggers.close()

    def acceptance_at(self, step: int) -> Estimate | None:
        """The acceptance from an evaluation at exactly this step of the present rung, if there was one."""
        if self.evaluation is None or self.evaluation["step"] != step + self.before["steps"]:
            return None
        value, error = (self.evaluation["acceptance"][key] for key in ("value", "error"))
        return None if value is None else Estimate(value, error)

    def save(self, state: TrainingState) -> None:
        if is_main_process():
            self._store.save(int(state.step) + self.before["steps"], state, self.metadata())

    def interrupted(self) -> bool:
        return bool(self._interruption)

    def metadata(self) -> dict[str, Any]:
        """The facts that a checkpoint stores beside the state."""
        return {
            **self._fixed,
            "seconds": self._clock.total,
            "compile_seconds": self.compile_seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "configurations": self._last["configurations"],
            "steps": self._last["steps"],
            "before": self.before,
            "rungs": self.rungs,
            "milestones": self.milestones,
            "evaluation": self.evaluation,
            "metrics_bytes": size(self._run.metrics_path),
        }
