"""The facts of a run and its costs."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from trivmap.reports.data import RunData
from trivmap.reports.formats import count, duration
from trivmap.reports.page import PageTable, Row


def subtitle(data: RunData) -> str:
    """The theory and the lattice in one line."""
    action = data.summary.get("action") or data.card.get("action") or {}
    couplings = ", ".join(f"{k} = {v}" for k, v in action.items() if k not in ("kind", "notation"))
    theory = " ".join(str(action[key]) for key in ("kind", "notation") if key in action)
    extents = " × ".join(map(str, data.lattice))
    return f"{theory}: {couplings} · lattice {extents}" if couplings else f"{theory} · lattice {extents}"


def milestones(data: RunData) -> PageTable | None:
    """The step at which the acceptance passed each target, and the cost up to there."""
    written = (data.summary.get("training") or {}).get("acceptance_milestones")
    if not written:
        return None
    rows = []
    for target, reached in sorted(written.items()):
        if reached is None:
            rows.append(Row([f"> {target}", "not reached", "", ""]))
        else:
            rows.append(
                Row(
                    [
                        f"> {target}",
                        count(reached["steps"]),
                        count(reached["configurations"]),
                        duration(float(reached["wall_seconds"])),
                    ]
                )
            )
    note = (
        "The first evaluation whose acceptance minus one error exceeds the target; time from the start of the process."
    )
    return PageTable("milestones", ["acceptance", "steps", "configurations", "wall time"], rows, note, beside=True)


def facts(data: RunData) -> PageTable:
    """Seed, map, costs and machine."""
    summary, environment = data.summary, data.environment
    model, training, sampling = (summary.get(key) or {} for key in ("model", "training", "sampling"))
    versions = environment.get("versions") or {}
    entries: list[tuple[str, str | None]] = [
        ("Directory", data.directory.resolve().name),
        ("Seed", _plain(summary.get("seed", data.card.get("seed")))),
        ("Precision of the map", _plain(summary.get("dtype", data.card.get("dtype")))),
        ("Parameters of the map", _counted(model.get("parameters"))),
        ("Ladder", _ladder(data)),
        ("Training steps", _counted(training.get("steps"))),
        ("Training ended", _plain(training.get("status"))),
        ("Configurations used in training", _counted(training.get("configurations"))),
        ("Training, wall time", _timed(training.get("wall_seconds"))),
        ("of which compilation", _timed(training.get("compile_seconds"))),
        ("Proposals", _counted(sampling.get("proposals"))),
        ("Chains", _counted((data.card.get("sampling") or {}).get("chains"))),
        ("Sampling, wall time", _timed(sampling.get("wall_seconds"))),
        ("Device", _devices(environment)),
        ("Threads", _plain(environment.get("threads"))),
        ("Cores of the machine", _plain(environment.get("cores"))),
        ("Software", ", ".join(f"{k} {v}" for k, v in versions.items() if v) or None),
        ("Source", _source(environment)),
    ]
    return PageTable("facts", ["", ""], [Row([name, text]) for name, text in entries if text is not None])


def _ladder(data: RunData) -> str | None:
    """The rungs that were trained first, with the acceptance that they reached."""
    cards = (data.card.get("training") or {}).get("ladder") or []
    trained = (data.summary.get("training") or {}).get("rungs") or []
    texts = []
    for card, rung in zip(cards, trained, strict=False):
        acceptance = ((rung.get("evaluation") or {}).get("acceptance") or {}).get("value")
        reached = "" if acceptance is None else f", acceptance {acceptance:.3f}"
        texts.append(f"{' x '.join(map(str, card['lattice']))} until step {count(rung['steps'])}{reached}")
    return "; ".join(texts) or None


def _plain(value: Any) -> str | None:
    return None if value is None else str(value)


def _counted(value: Any) -> str | None:
    return count(value) if isinstance(value, int) else None


def _timed(value: Any) -> str | None:
    return duration(float(value)) if isinstance(value, (int, float)) else None


def _devices(environment: Mapping[str, Any]) -> str | None:
    kinds = Counter(f"{device['platform']} ({device['kind']})" for device in environment.get("devices") or [])
    return ", ".join(kind if number == 1 else f"{number} of {kind}" for kind, number in kinds.items()) or None


def _source(environment: Mapping[str, Any]) -> str | None:
    state = (environment.get("git") or {}).get("trivmap")
    if not state:
        return None
    return f"commit {state['commit'][:12]}" + (", with uncommitted changes" if state.get("dirty") else "")
