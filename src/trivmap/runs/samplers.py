"""The sampler of a run, made from the section `sampling` of its card."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from trivmap.bases import FreeField
from trivmap.bijections import Chain
from trivmap.cards.kernels import KernelSampling
from trivmap.cards.sampling import (
    AnnealedSampling,
    ClusterSampling,
    FlowSampling,
    GivenStart,
    HamiltonianSampling,
    HmcSampling,
    ProposalSampling,
    TrivializedSampling,
)
from trivmap.devices import device_count
from trivmap.flows import Flow
from trivmap.runs.ensemble import starts
from trivmap.runs.integration_check import IntegrationErrorCheck
from trivmap.runs.outcome import Outcome, ProposalJudge, judge_chains
from trivmap.runs.pipeline import load_flow
from trivmap.runs.plan import Plan
from trivmap.samplers import (
    HMC,
    INTEGRATORS,
    AbstractIndependence,
    AbstractKernel,
    AbstractMove,
    AbstractPath,
    AbstractPotential,
    ActionPotential,
    Annealed,
    ClusterCycle,
    FlowPath,
    FlowPotential,
    FourierMass,
    Hamiltonian,
    HeatBath,
    HoppingExpansionPath,
    IndependenceMetropolis,
    SwendsenWang,
    Wolff,
    annealing_levels,
    tune_step_size,
)
from trivmap.simulation import AbstractDriver, ClusterChains, MarkovChains, Measure, ProposalChains, State
from trivmap.store.directory import RunDirectory
from trivmap.store.samples import SampleReader
from trivmap.tuning import tuning

_FIRST_STEP = 0.1
"""The step size at which its adaptation begins."""


class Sampler(NamedTuple):
    """A driver with the functions that a run needs for it.

    `begin` starts to compile, in the background, the programs for drawing and judging. `settle` is called before
    anything is drawn; it returns the attributes that identify the samples, beside those that all samplers share, and a
    resumed run must agree in all of them. `judge` receives the samples and the last state of the driver. `certified` is
    the flow that the driver samples through, if any.
    """

    driver: AbstractDriver
    begin: Callable[[], None]
    settle: Callable[[], dict[str, Any]]
    judge: Callable[[SampleReader, State], Outcome]
    certified: IntegrationErrorCheck | None = None


def build_sampler(run: RunDirectory, plan: Plan, measure: Measure | None = None) -> Sampler:
    """The sampler that a plan asks for, with the run's map if it has one.

    `measure` replaces the measurements of one configuration that the pipeline needs: those of the theory and of the
    user's own observables.
    """
    from trivmap.observables import measure as measure_all

    section = plan.card.sampling
    if isinstance(section, ClusterSampling):
        return _chains(plan, _cluster(plan, section, measure))
    measure = measure or eqx.Partial(measure_all, plan.action, own=plan.observables)
    match section:
        case FlowSampling():
            certified = _certified(run, plan, measure)

            def kernel() -> IndependenceMetropolis:
                return IndependenceMetropolis(certified.stepped, plan.target)

            judge = ProposalJudge(plan, certified=certified)
            sampler = _proposals(plan, kernel, judge, measure, {}, certified)
            assert isinstance(sampler.driver, ProposalChains)
            # A program for several devices needs all processes, but only the first process judges.
            levels, rounding = tuning().shared
            if device_count() == 1 and sampler.driver.stride <= levels:
                certified.evaluate_by(sampler.driver)
            if device_count() == 1 and sampler.driver.stride <= rounding:
                judge.evaluate_by(sampler.driver)
            return sampler
        case HmcSampling(fourier_mass=mass):
            potential = ActionPotential(plan.action, plan.lattice, plan.card.dtype)
            kinetic = None if mass is None else FourierMass(plan.lattice, m_sq=mass, dtype=plan.card.dtype)
            return _chains(plan, _hmc(plan, section, potential, kinetic, _start(plan, section.start), measure))
        case TrivializedSampling():
            certified = _certified(run, plan, measure).settle()
            driver = _hmc(plan, section, FlowPotential(certified.flow, plan.target), None, "hot", measure)
            return _chains(plan, driver, certified)
        case AnnealedSampling():
            return _annealed(run, plan, section, measure)
        case KernelSampling():
            return _own(run, plan, section, measure)
    raise AssertionError(section.kind)


def _certified(run: RunDirectory, plan: Plan, measure: Measure) -> IntegrationErrorCheck:
    section = plan.card.sampling
    named = isinstance(section, FlowSampling | TrivializedSampling | AnnealedSampling)
    return IntegrationErrorCheck(run, load_flow(run, plan), plan, section.integration_steps if named else None, measure)


def _chains(plan: Plan, driver: AbstractDriver, certified: IntegrationErrorCheck | None = None) -> Sampler:
    section = plan.card.sampling
    # The warm-up is not stored, but its length is one of the facts that identify the samples.
    attributes = {"warmup": 0, "warmup_steps": section.warmup, **section.own_settings}
    attributes |= {} if certified is None else certified.attributes
    return Sampler(driver, driver.begin, lambda: attributes, partial(judge_chains, driver, certified), certified)


def _proposals(
    plan: Plan,
    kernel: Callable[[], AbstractIndependence],
    judge: ProposalJudge,
    measure: Measure,
    attributes: dict[str, Any],
    certified: IntegrationErrorCheck | None,
) -> Sampler:
    """A sampler with the proposals of `kernel()`, which is called again once the integration steps are settled."""
    section = plan.card.sampling
    driver = ProposalChains(
        kernel(),
        plan.keys["sample"],
        chains=section.chains,
        measure=measure,
        batch=section.batch if isinstance(section, ProposalSampling) else None,
    )

    def begin() -> None:
        # In the order in which they are needed.
        driver.begin()
        judge.begin()

    def settle() -> dict[str, Any]:
        found = {"warmup": section.warmup, **attributes}
        if certified is not None:
            found |= certified.settle().attributes
            driver.adopt(kernel())
        return found

    return Sampler(driver, begin, settle, judge, certified)


def _hmc(
    plan: Plan,
    section: HamiltonianSampling,
    potential: AbstractPotential,
    kinetic: Any,
    start: str | Callable[[], np.ndarray],
    measure: Measure,
) -> MarkovChains:
    target = section.target_acceptance if section.step_size is None else None
    kernel = HMC(
        potential,
        step_size=section.step_size or _FIRST_STEP,
        trajectory_length=section.trajectory_length,
        integrator=INTEGRATORS[section.integrator],
        kinetic=kinetic,
    )
    return _markov(plan, kernel, measure, start, target)


def _start(plan: Plan, start: str | GivenStart) -> str | Callable[[], np.ndarray]:
    """Where chains begin, as their driver takes it; given configurations are read when the chains begin."""
    return start if isinstance(start, str) else partial(starts, start.configurations, plan, plan.card.sampling.chains)


def _markov(
    plan: Plan, kernel: AbstractKernel, measure: Measure, start: str | Callable[[], np.ndarray], target: float | None
) -> MarkovChains:
    section = plan.card.sampling
    return MarkovChains(
        kernel,
        plan.keys["sample"],
        chains=section.chains,
        measure=measure,
        start=start,
        warmup=section.warmup or 0,
        target=target,
    )


def _cluster(plan: Plan, section: ClusterSampling, measure: Measure | None) -> ClusterChains:
    from trivmap.observables.measure import measure_own

    update = SwendsenWang() if section.algorithm == "swendsen-wang" else Wolff(section.wolff_updates)
    action, own = plan.action, plan.observables
    return ClusterChains(
        ClusterCycle(action, plan.lattice, update=update, sweeps=section.local_updates),
        plan.keys["sample"],
        chains=section.chains,
        warmup=section.warmup or 0,
        measure=measure,
        also=eqx.Partial(measure_own, action, own) if own and measure is None else None,
    )


def _annealed(run: RunDirectory, plan: Plan, section: AnnealedSampling, measure: Measure) -> Sampler:
    action, lattice, dtype = plan.action, plan.lattice, plan.card.dtype
    certified: IntegrationErrorCheck | None = None
    flow: Flow | None = None
    move: AbstractMove
    if section.moves == "heat-bath":
        path: AbstractPath = HoppingExpansionPath(lattice, action, dtype=dtype)
        move = HeatBath(section.updates)
        moves = [move]
    else:
        if plan.card.model is None:
            flow = Flow(FreeField.hartree(lattice, action, learnable=False, dtype=dtype), Chain(lattice, []))
        else:
            certified, action = _certified(run, plan, measure).settle(), plan.target
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
    # The attribute "steps" of a part counts the steps of its chains.
    attributes = {"annealing_steps": settings.pop("steps"), **settings}
    sizes = [float(move.step_size) for move in kernel.moves if isinstance(move, Hamiltonian)]
    facts = {"step_size": sizes[0]} if sizes else {}
    judge = ProposalJudge(plan, flow, certified=certified, facts=facts)
    return _proposals(plan, lambda: kernel, judge, measure, attributes, certified)


def _own(run: RunDirectory, plan: Plan, section: KernelSampling, measure: Measure) -> Sampler:
    """The sampler of a kernel of the user's own."""
    certified = None if plan.card.model is None else _certified(run, plan, measure).settle()
    kernel = plan.kernel(lambda: certified.flow if certified else plan.flow())
    if isinstance(kernel, AbstractIndependence):
        judge = ProposalJudge(plan, certified=certified, facts=kernel.facts())
        return _proposals(plan, lambda: kernel, judge, measure, section.own_settings, certified)
    driver = _markov(plan, kernel, measure, _start(plan, section.start), section.target_acceptance)
    return _chains(plan, driver, certified)
