"""The figures of a run, with their titles, captions and numbers."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from trivmap.lattice import Lattice
from trivmap.reports.data import RunData
from trivmap.reports.drawings import Drawing, joined
from trivmap.reports.figures.configurations import configurations_figure
from trivmap.reports.figures.consistency import consistency_figure
from trivmap.reports.figures.stages import stages_figure
from trivmap.reports.figures.training import training_figure
from trivmap.reports.formats import count, parenthesis
from trivmap.reports.sampled_pictures import correlations, sampling, trusted
from trivmap.reports.tables import ResultRow


def drawings(data: RunData, rows: list[ResultRow]) -> list[Drawing]:
    """Every figure that the run has data for, not yet drawn."""
    return [*_results(rows), *_training(data), *sampling(data), *correlations(data), *_map(data)]


def _results(rows: list[ResultRow]) -> Iterator[Drawing]:
    pulls: dict[str, list[float | None]] = {
        "chain − reweighted": [row.difference_pull for row in rows],
        "chain − reference": [row.pull for row in rows],
    }
    pulls = {label: values for label, values in pulls.items() if any(value is not None for value in values)}
    shown = [k for k in range(len(rows)) if any(values[k] is not None for values in pulls.values())]
    if not shown:
        return
    pulls = {label: [values[k] for k in shown] for label, values in pulls.items()}
    worst = {label: max((abs(v) for v in values if v is not None), default=0.0) for label, values in pulls.items()}
    largest = ", ".join(f"{label} at most {value:.1f}" for label, value in worst.items())
    yield Drawing(
        "consistency", "results", "Consistency",
        "Differences in units of their standard error. Chain and reweighted proposals share their noise, which the "
        "error of their difference takes into account; rows are correlated with each other.",
        f"Differences of {len(shown)} observables in standard errors: {largest}.",
        partial(consistency_figure, [_drawn_name(rows[k]) for k in shown], pulls),
        {"observable": [rows[k].name for k in shown]} | {_COLUMNS[label]: values for label, values in pulls.items()},
    )  # fmt: skip


_COLUMNS = {"chain − reweighted": "chain_minus_reweighted", "chain − reference": "chain_minus_reference"}


def _drawn_name(row: ResultRow) -> str:
    """The symbol of an observable without its definition, or the name of one that has no symbol."""
    return row.symbol.split(" = ")[0] or row.name


def _training(data: RunData) -> Iterator[Drawing]:
    if data.training is None:
        return
    training = data.training
    caption = "Loss on the training batches with its standard error, quality of the map, and the schedules."
    if training.milestones:
        caption += " Dashed lines: the first evaluation whose acceptance minus one error exceeds the number above."
    if len(training.evaluations["step"]):
        caption += " Evaluations use fresh proposals."
    evaluated = {name if name == "step" else f"evaluation_{name}": v for name, v in training.evaluations.items()}
    yield Drawing(
        "training", "training", "Training", caption, _course(training.log, training.evaluations),
        partial(training_figure, training.log, training.evaluations, training.milestones),
        joined(training.log, evaluated),
    )  # fmt: skip


def _course(log: Mapping[str, np.ndarray], evaluations: Mapping[str, np.ndarray]) -> str:
    """The course of a training in words."""
    said = []
    for name, source in (("loss", log), ("acceptance", evaluations), ("ESS", evaluations)):
        values = source.get(name.lower(), np.array([]))
        values = values[np.isfinite(values)]
        if len(values):
            said.append(f"{name} from {values[0]:.3g} to {values[-1]:.3g}")
    steps = log["step"][np.isfinite(log["step"])]
    until = f" over {count(int(steps[-1]))} steps" if len(steps) else ""
    return f"Course of the training{until}: {', '.join(said)}." if said else f"Course of the training{until}."


def _map(data: RunData) -> Iterator[Drawing]:
    if data.stages:
        distance = np.linalg.norm(Lattice(data.lattice).orbit_representatives, axis=1)
        first, last = (
            "unknown" if (xi := stage.correlation_length) is None or stage.correlation_length_error is None
            else parenthesis(xi, stage.correlation_length_error)
            for stage in (data.stages[0], data.stages[-1])
        )  # fmt: skip
        yield Drawing(
            "stages", "map", "Stages",
            "Two-point function, correlation length, distribution of the field and of the magnetization after every "
            "stage. One color is one stage in all panels. Dashed: the chain.",
            f"The field after each of {len(data.stages)} stages of the map: its correlation length is {first} in the "
            f"base and {last} at the end.",
            partial(stages_figure, data.stages, distance, target=_target(data)),
            _stage_columns(data, distance), wide=True,
        )  # fmt: skip
    if data.configurations is not None:
        base, output = data.configurations
        text = f"Configurations of the base, {'beside' if output.ndim == 2 else 'above'} their images under the map."
        slices = {2: "", 3: "", 4: " The slice x₃ = 0."}.get(output.ndim, " The slice x₃ = x₄ = … = 0.")
        sites = np.indices(output.shape).reshape(output.ndim, -1)
        names = ["configuration", *(f"x{axis}" for axis in range(1, output.ndim))]
        yield Drawing(
            "configurations", "map", "Configurations", text + slices,
            f"{len(output)} configurations of the base, whose field has the root mean square {_rms(base):.2g}, and "
            f"their images under the map, where it is {_rms(output):.2g}.",
            partial(configurations_figure, base, output),
            {**dict(zip(names, sites, strict=True)), "base": base.ravel(), "output": output.ravel()}, wide=True,
        )  # fmt: skip


def _rms(field: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(field))))


def _stage_columns(data: RunData, distance: np.ndarray) -> dict[str, list[Any]]:
    """A line for each point: `quantity` says which; histograms have the edges `x` and `x_high` of each bin."""
    parts: list[dict[str, Any]] = []
    for stage in data.stages or ():
        points: dict[str, Any] = {"two_point": (distance, stage.two_point, stage.two_point_error)}
        points["correlation_length"] = ([None], [stage.correlation_length], [stage.correlation_length_error])
        for quantity, (x, value, error) in points.items():
            parts.append({"quantity": [quantity] * len(value), "x": x, "value": value, "error": error})
        for quantity, each in (("field", stage.field), ("magnetization", stage.magnetization)):
            edges = {"x": each.edges[:-1], "x_high": each.edges[1:]}
            named = [f"density of {quantity}"] * len(each.density)
            parts.append({"quantity": named, **edges, "value": each.density, "error": each.error})
        for part in parts:
            part.setdefault("stage", [stage.name] * len(part["value"]))
    found = joined(*parts)
    return {name: found[name] for name in ("stage", "quantity", "x", "x_high", "value", "error")}


def _target(data: RunData) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if data.curves.two_point is not None:
        found["two_point"] = data.curves.two_point[0]
    entry = (data.summary.get("observables") or {}).get("correlation_length")
    pair = trusted("correlation_length", entry, data.judged)
    if pair:
        found["correlation_length"] = pair
    if data.chain is not None:
        found["magnetization_edges"], found["magnetization_density"] = data.chain.edges, data.chain.density
    return found
