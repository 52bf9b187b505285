"""An ensemble of a user's own: its observables, its weights under the map of a run, how it compares with the run."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from trivmap.diagnostics import forward_effective_sample_size
from trivmap.diagnostics.autocorrelation import autocorrelation_time
from trivmap.errors import InputError
from trivmap.estimate import Estimate
from trivmap.observables import ArrayHistory, Results, analyze, measure
from trivmap.observables.trust import MOST_ERRORS
from trivmap.runs.budget import within_memory
from trivmap.runs.ensemble import piece, shape_of
from trivmap.runs.pipeline import load_certified
from trivmap.runs.plan import Plan
from trivmap.runs.probe import Densities
from trivmap.runs.progress import NoProgress, Progress, shown
from trivmap.simulation import default_batch
from trivmap.store.directory import RunDirectory


class Judged(NamedTuple):
    """An ensemble of exp(-S)/Z under a map, by log w = -S - log q of its configurations.

    `forward_ess`: 1 / (E[w] E[1/w]) with its error, in which their autocorrelation counts. `tau_int`: that of log w, in
    configurations. `mean_log_weight`: less log Z it is the forward KL divergence of the map.
    """

    forward_ess: Estimate
    tau_int: Estimate
    mean_log_weight: Estimate


class Difference(NamedTuple):
    """An observable of an ensemble less that of the run, and the difference in units of its error."""

    value: float
    error: float
    pull: float | None


@within_memory("--configurations")
def measured(plan: Plan, fields: Any, name: str = "fields", progress: Progress | None = None) -> Results:
    """The observables of an ensemble of the user's own with errors, by the analysis of the run.

    Args:
        plan: the plan of the run: its action, its own observables, and `measure.bins`.
        fields: configurations in the order of the chain, shape (n, ...) of one chain, or (chains, n, ...).
        name: what sentences call them.
        progress: where progress is shown.

    Raises:
        InputError: for another shape, numbers that are not real or not finite, and too few configurations.
    """
    chains, count = shape_of(plan, fields, name)
    measuring = eqx.Partial(measure, plan.action, own=plan.observables)
    size = min(count, default_batch(plan.lattice.volume))
    columns: dict[str, np.ndarray] = {}
    with shown(progress or NoProgress(), "measure", chains * count):
        for chain, start, batch in _batches(plan, fields, name, size, progress):
            padded = np.resize(batch, (size, *batch.shape[1:]))
            for key, values in jax.device_get(_measured(measuring, jnp.asarray(padded))).items():
                if key not in columns:
                    columns[key] = np.empty((chains, count, *values.shape[1:]), values.dtype)
                columns[key][chain, start : start + len(batch)] = values[: len(batch)]
    history = ArrayHistory(columns, lattice=plan.lattice.shape, symmetries=plan.action.symmetries, own=plan.observables)
    return analyze(history, bins=plan.card.measure.bins)


@within_memory("--configurations")
def judged(
    run: RunDirectory, plan: Plan, fields: Any, name: str = "fields", progress: Progress | None = None
) -> Judged:
    """An ensemble of exp(-S)/Z, of the user's own, under the map of a run.

    Args:
        run: the run, which must have its map.
        plan: its plan.
        fields: as in `measured`.
        name: what sentences call them.
        progress: where progress is shown.

    Raises:
        InputError: as in `measured`, and for a run without a map, or whose map is integrated with an error that is
            not measured or too large.
    """
    if plan.card.model is None:
        raise InputError(f"{run.root}: has no map whose weights these configurations could have")
    chains, count = shape_of(plan, fields, name)
    (flow, _), densities = load_certified(run, plan), Densities(plan.target)
    logs = np.empty((chains, count))
    with shown(progress or NoProgress(), "weigh", chains * count):
        for chain, start, batch in _batches(plan, fields, name, default_batch(plan.lattice.volume), progress):
            logs[chain, start : start + len(batch)] = densities.under(flow, batch)[1]
    if not np.all(np.isfinite(logs)):
        raise InputError(
            f"{name}: {int(np.sum(~np.isfinite(logs)))} of {logs.size} configurations have no weight under the map of "
            f"{run.root}, so far are they from where it has been trained"
        )
    tau_int = autocorrelation_time(logs) if count > 1 else Estimate(math.nan, math.nan)
    slow = max(tau_int.value, 0.5)
    error = float(logs.std() * np.sqrt(2 * slow / logs.size))
    return Judged(forward_effective_sample_size(logs, slow), tau_int, Estimate(float(logs.mean()), error))


def reverse_ess(summary: Mapping[str, Any]) -> Estimate | None:
    """The effective sample size of the map's own proposals, where the run has drawn and trusts them."""
    sampling = summary.get("sampling") or {}
    value, error = sampling.get("ess"), sampling.get("ess_error")
    if value is None or error is None or sampling.get("kind") != "flow" or "ess" in (summary.get("untrusted") or {}):
        return None
    return Estimate(value, error)


def disagreement(forward: Estimate, reverse: Estimate | None) -> str | None:
    """A sentence where the two effective sample sizes cannot be those of one map and one exp(-S), else None."""
    if not (math.isfinite(forward.value) and math.isfinite(forward.error)):
        return "the configurations are too few or too correlated for an error of the forward effective sample size"
    if reverse is None:
        return None
    pull = (forward.value - reverse.value) / max(math.hypot(forward.error, reverse.error), 1e-300)
    if abs(pull) <= MOST_ERRORS:
        return None
    if pull < 0:
        return (
            f"the forward effective sample size is {-pull:.0f} errors below the reverse one: the map misses a part of "
            "exp(-S) that these configurations have, or they are not of this exp(-S)"
        )
    return (
        f"the forward effective sample size is {pull:.0f} errors above the reverse one: these configurations miss a "
        "part of exp(-S) that the map has, or its weights have a long tail that they do not reach"
    )


def differences(observables: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Difference]:
    """The observables of an ensemble, as `Results.summary` has them, less those in the summary of a run.

    The two are independent, and so are their errors.
    """
    own = summary.get("observables") or {}
    found = {}
    for name, here in observables.items():
        if name in own:
            value = here["value"] - own[name]["value"]
            error = math.hypot(here["error"], own[name]["error"])
            found[name] = Difference(value, error, value / error if error > 0 else None)
    return found


def largest_difference(compared: Mapping[str, Difference]) -> str | None:
    """A sentence where an ensemble and a run differ by more than their errors permit, else None."""
    worst = max(compared, key=lambda name: abs(compared[name].pull or 0.0), default=None)
    pull = None if worst is None else compared[worst].pull
    if pull is None or abs(pull) <= MOST_ERRORS:
        return None
    return f"{worst} is {abs(pull):.0f} errors of the difference from that of the run: one of the two must be wrong"


def other_theory(results: Results) -> str | None:
    """A sentence where an exact identity says that an ensemble is of another action, else None."""
    broken = results.info["broken_identity"]
    return broken and (
        f"{broken}: these configurations are of other couplings, of a field with another normalization, or not in "
        "equilibrium; compare the notation of the action"
    )


def _batches(
    plan: Plan, fields: Any, name: str, size: int, progress: Progress | None
) -> Iterator[tuple[int, int, np.ndarray]]:
    """(chain, number of the first, configurations) of every batch, in the precision of the run."""
    chains, count = shape_of(plan, fields, name)
    for chain in range(chains):
        for start in range(0, count, size):
            stop = min(start + size, count)
            yield chain, start, piece(plan, fields, name, chain, start, stop)
            if progress:
                progress.update(chain * count + stop)


@eqx.filter_jit
def _measured(measuring: Any, fields: Array) -> dict[str, Array]:
    return jax.vmap(measuring)(fields)
