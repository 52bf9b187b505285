"""From the section `sampling` of a run card to the source of its samples."""

from typing import Any

import equinox as eqx
import jax

from trivmap.bases import FreeField
from trivmap.bijections import Chain
from trivmap.cards.sampling import (
    AnnealedSampling,
    ClusterSampling,
    FlowSampling,
    HamiltonianSampling,
    HmcSampling,
    TrivialisedSampling,
)
from trivmap.flows import Flow
from trivmap.runs.certified import Certified
from trivmap.runs.chains import Chains
from trivmap.runs.pipeline import load_flow
from trivmap.runs.plan import Plan
from trivmap.runs.proposals import Proposals
from trivmap.runs.sources import AbstractSource
from trivmap.samplers import (
    HMC,
    INTEGRATORS,
    AbstractMove,
    AbstractPath,
    AbstractPotential,
    ActionPotential,
    Annealed,
    ClusterCycle,
    FlowPath,
    FourierMass,
    Hamiltonian,
    HeatBath,
    HoppingPath,
    IndependenceMetropolis,
    PulledBack,
    SwendsenWang,
    Wolff,
    annealing_levels,
    tune_step_size,
)
from trivmap.simulation import ClusterChains, MarkovChains
from trivmap.simulation.chains import Measure
from trivmap.store.directory import RunDirectory

_FIRST_STEP = 0.1
"""Where the adaptation of the step size begins."""


def build_source(run: RunDirectory, plan: Plan, measure: Measure | None = None) -> AbstractSource:
    """The sampler that a plan asks for, through the run's map where it has one.

    `measure`: other measurements of one configuration than those of the theory and of the card's own observables, which
    the pipeline needs.
    """
    from trivmap.observables import measure as measure_all

    if isinstance(plan.card.sampling, ClusterSampling):
        return _cluster(plan, plan.card.sampling, measure)
    measure = measure or eqx.Partial(measure_all, plan.action, own=plan.observables)
    match plan.card.sampling:
        case FlowSampling() as section:
            return _flow(run, plan, section, measure)
        case HmcSampling() as section:
            potential = ActionPotential(plan.action, plan.lattice, plan.card.dtype)
            mass = section.fourier_mass
            kinetic = None if mass is None else FourierMass(plan.lattice, m_sq=mass, dtype=plan.card.dtype)
            driver = _hmc(plan, section, potential, kinetic, section.start, measure)
            return Chains(section, driver)
        case TrivialisedSampling() as section:
            certified = _certified(run, plan, section.integration_steps, measure)
            driver = _hmc(plan, section, PulledBack(certified.flow, plan.target), None, "hot", measure)
            return Chains(section, driver, certified=certified)
        case AnnealedSampling() as section:
            return _annealed(run, plan, section, measure)
    raise AssertionError(plan.card.sampling.kind)


def _certified(run: RunDirectory, plan: Plan, wanted: int | None, measure: Measure) -> Certified:
    return Certified(run, load_flow(run, plan), plan, wanted, measure)


def _flow(run: RunDirectory, plan: Plan, section: FlowSampling, measure: Measure) -> AbstractSource:
    certified = _certified(run, plan, section.integration_steps, measure)
    return Proposals(
        plan,
        IndependenceMetropolis(certified.flow, plan.target),
        plan.target,
        attributes=certified.attributes,
        flow=certified.flow,
        certified=certified,
        measure=measure,
    )


def _hmc(
    plan: Plan,
    section: HamiltonianSampling,
    potential: AbstractPotential,
    kinetic: Any,
    start: str,
    measure: Measure,
) -> MarkovChains:
    kernel = HMC(
        potential,
        step_size=section.step_size or _FIRST_STEP,
        trajectory_length=section.trajectory_length,
        integrator=INTEGRATORS[section.integrator],
        kinetic=kinetic,
    )
    return MarkovChains(
        kernel,
        plan.keys["sample"],
        chains=section.chains,
        measure=measure,
        start=start,
        warmup=section.warmup or 0,
        target=section.target_acceptance if section.step_size is None else None,
    )


def _cluster(plan: Plan, section: ClusterSampling, measure: Measure | None) -> AbstractSource:
    from trivmap.observables.measure import measure_own

    update = SwendsenWang() if section.algorithm == "swendsen-wang" else Wolff(section.wolff_updates)
    action, own = plan.action, plan.observables
    kernel = ClusterCycle(action, plan.lattice, update=update, sweeps=section.local_updates)
    driver = ClusterChains(
        kernel,
        plan.keys["sample"],
        chains=section.chains,
        warmup=section.warmup or 0,
        measure=measure,
        also=eqx.Partial(measure_own, action, own) if own and measure is None else None,
    )
    return Chains(section, driver)


def _annealed(run: RunDirectory, plan: Plan, section: AnnealedSampling, measure: Measure) -> AbstractSource:
    action, lattice, dtype = plan.action, plan.lattice, plan.card.dtype
    certified: Certified | None = None
    flow: Flow | None = None
    move: AbstractMove
    if section.moves == "heat-bath":
        path: AbstractPath = HoppingPath(lattice, action, dtype=dtype)
        move = HeatBath(section.updates)
        moves = [move]
    else:
        if plan.card.model is None:
            flow = Flow(FreeField.hartree(lattice, action, learnable=False, dtype=dtype), Chain(lattice, []))
        else:
            certified, action = _certified(run, plan, section.integration_steps, measure), plan.target
            flow = certified.flow
        path = FlowPath(flow, action)
        steps = 1 if section.moves == "langevin" else section.leapfrog_steps
        move = Hamiltonian(section.step_size or _FIRST_STEP, steps)
        moves = [move] * section.updates
    levels = annealing_levels(section.steps, 2.0 if section.schedule == "quadratic" else 1.0)
    kernel = Annealed(path, levels, moves, particles=section.particles, threshold=section.resample)
    if section.moves != "heat-bath" and section.step_size is None:
        kernel = tune_step_size(kernel, jax.random.fold_in(plan.keys["sample"], 2**32 - 3))
    settings = section.own_settings
    # The attribute "steps" of a part counts its own.
    attributes = {"annealing_steps": settings.pop("steps"), **settings}
    attributes |= certified.attributes if certified is not None else {}
    sizes = [float(move.step_size) for move in kernel.moves if isinstance(move, Hamiltonian)]
    facts = {"step_size": sizes[0]} if sizes else {}
    return Proposals(
        plan, kernel, action, attributes=attributes, flow=flow, certified=certified, facts=facts, measure=measure
    )
