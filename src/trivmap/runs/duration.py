"""A rough estimate of the time that a card takes on this processor: its operations times the time of one.

The factors were measured with the presets on two cores. Compilation, about ten seconds for a map, is not included.
"""

import functools
import json
import math
import time
from typing import Literal

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from trivmap._types import Key, Scalar
from trivmap.ahead import processors
from trivmap.cards.kernels import KernelSampling
from trivmap.cards.sampling import AnnealedSampling, ClusterSampling, HamiltonianSampling, TrivializedSampling
from trivmap.flows import Flow
from trivmap.runs.plan import Plan
from trivmap.runs.work import work
from trivmap.samplers import AbstractIndependence

_ELEMENT, _FUNCTION, _PRODUCT = 0.2, 4.0, 0.2
"""Times of an operation on an element, of a function, and of an operation in a matrix product, in `_unit`."""
_GRADIENT = 4.0
_DERIVATIVES = {"gradient": _GRADIENT, "jacobian": 10.0}
"""Work of a map with its gradient, and of a map with the derivatives of every configuration, in units of the map's."""
_CHECKS = 1.3
"""Work of sampling through a map, including its integration error, in units of the work of the proposals."""
_SMALL = {"map": 1.0, "force": 10.0, "observables": 7.0, "step": 10.0}
"""The factor by which small programs take longer than their operations suggest: they are fused less well than a map."""
_STEP = 0.9
"""Step size of hybrid Monte Carlo if it is adapted, times V^(1/6)."""
_ANNEALED = 3.5
"""Work of a force in annealing, which also needs the density of the start, in units of the action's force."""
_CLUSTERS, _SWEEP, _HEAT_BATH = 150.0, 25.0, 2500.0
"""Time per site of a cluster cycle, of a local update and of a heat-bath update, in units of `_unit`."""

Program = Literal["map", "force", "observables", "step"]


_COSTS: dict[tuple[str, Program], float] = {}
"""The work of one configuration, cached: many runs of a study share a program and differ only in their seeds."""


def seconds(plan: Plan, *, training: bool = True) -> float | None:
    """Seconds that training, sampling and measuring take; None if JAX does not run on the CPU."""
    if jax.default_backend() != "cpu":
        return None
    total, card = _sampling(plan), plan.card
    if card.model is not None:
        total += card.measure.stages.proposals * _cost(plan, "map")
    if training and card.training is not None:
        total += sum(map(_training, plan.rungs))
    return total * _unit() / processors()


def _training(plan: Plan) -> float:
    """In units of `_unit`, like everything below."""
    assert plan.card.training is not None
    section, each = plan.card.training, _cost(plan, "map")
    optimizer, parameters = plan.training.optimizer, plan.parameters or 0
    total = each * (
        section.judged + _DERIVATIVES[optimizer.per_configuration] * plan.training.configurations_until(section.steps)
    )
    return total + sum(steps * _PRODUCT * optimizer.arithmetic(parameters, batch) for steps, batch in section.phases)


def _sampling(plan: Plan) -> float:
    section, volume = plan.card.sampling, plan.lattice.volume
    each = 0.0 if plan.card.model is None else _CHECKS * _cost(plan, "map")
    match section:
        case ClusterSampling():
            each = volume * (_CLUSTERS + section.local_updates * _SWEEP)
        case HamiltonianSampling():
            forces = section.trajectory_length / (section.step_size or _STEP / volume ** (1 / 6))
            forces = max(1.0, forces) * (2 if section.integrator == "omelyan" else 1)
            flows = isinstance(section, TrivializedSampling)
            each = forces * (_GRADIENT * _cost(plan, "map") if flows else _cost(plan, "force"))
        case KernelSampling():
            each = _cost(plan, "step")
        case AnnealedSampling(moves="heat-bath"):
            each = section.particles * section.steps * section.updates * volume * _HEAT_BATH
        case AnnealedSampling():
            forces = section.steps * section.updates * (section.leapfrog_steps if section.moves == "hmc" else 1)
            each = section.particles * (each + _ANNEALED * forces * _cost(plan, "force"))
    unmeasured = 0 if section.measured_warmup else (section.warmup or 0) * section.chains
    return section.proposals * (each + _cost(plan, "observables")) + unmeasured * each


def _cost(plan: Plan, program: Program) -> float:
    data = plan.card.to_data()
    physics = [*(data[key] for key in ("lattice", "dtype", "action", "model")), data["measure"]["observables"]]
    physics += [plan.card.sampling.own_settings] if program == "step" else []
    key = json.dumps(physics), program
    if key not in _COSTS:
        _COSTS[key] = _traced(plan, program)
    return _COSTS[key]


def _traced(plan: Plan, program: Program) -> float:
    """The work of one configuration, in units of `_unit`."""
    from trivmap.observables import measure

    target = plan.target
    field = plan.action.space.form(plan.lattice, plan.card.dtype)
    match program:
        case "force":
            found = work(plan.action.force, field)
        case "observables":
            found = work(functools.partial(measure, plan.action, own=plan.observables), field)
        case "step":
            found = work(functools.partial(_own_step, plan), jax.eval_shape(jax.random.key, 0))
        case "map":
            arrays, static = eqx.partition(plan.shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))

            def propose(arrays: Flow, key: Key) -> Scalar:
                drawn, log_density = eqx.combine(arrays, static).sample(key, target)
                return target(drawn) + log_density

            found = work(propose, arrays, jax.eval_shape(jax.random.key, 0))
    return _SMALL[program] * (_ELEMENT * found.elements + _FUNCTION * found.functions + _PRODUCT * found.products)


def _own_step(plan: Plan, key: Key) -> Array:
    """A step of the user's own kernel, its start included."""
    kernel = plan.kernel(plan.flow).with_own_step_size()
    if isinstance(kernel, AbstractIndependence):
        return kernel.propose(key).field
    state = kernel.init(key)
    return kernel.step(key, state, kernel.shared(key))[0].field


@functools.cache
def _unit() -> float:
    """Seconds that NumPy now takes per product of two double-precision numbers, in arrays of a few kilobytes."""
    left, right, product = np.linspace(1, 2, 4096), np.linspace(2, 3, 4096), np.empty(4096)
    best = math.inf
    for _ in range(200):
        begun = time.perf_counter()
        np.multiply(left, right, out=product)
        best = min(best, time.perf_counter() - begun)
    return best / left.size
