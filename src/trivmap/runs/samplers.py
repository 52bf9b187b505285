"""From the section `sampling` of a run card to the source of its samples."""

from functools import partial
from typing import Any

from trivmap.lattice import Lattice
from trivmap.runs.build import build_action
from trivmap.runs.card import RunCard
from trivmap.runs.card_sampling import (
    AnnealedSampling,
    ClusterSampling,
    FlowSampling,
    HmcSampling,
    TrivialisedSampling,
)
from trivmap.runs.chains import Chains
from trivmap.runs.directory import RunDirectory
from trivmap.runs.pipeline import keys, load_flow
from trivmap.runs.proposals import Certified, Proposals
from trivmap.runs.sources import AbstractSource
from trivmap.samplers import (
    HMC,
    INTEGRATORS,
    AbstractPotential,
    ActionPotential,
    ClusterCycle,
    FourierMass,
    IndependenceMetropolis,
    PulledBack,
    SwendsenWang,
    Wolff,
)
from trivmap.simulation import ClusterChains, MarkovChains
from trivmap.simulation.chains import Measure

_FIRST_STEP = 0.1
"""Where the adaptation of the step size begins."""


def build_source(run: RunDirectory, card: RunCard, measure: Measure | None = None) -> AbstractSource:
    """The sampler that a card asks for, through the run's map where it has one.

    `measure`: other observables of one configuration than `trivmap.observables.measure`, which the pipeline needs.
    """
    match card.sampling:
        case FlowSampling() as section:
            return _flow(run, card, section, measure)
        case HmcSampling() as section:
            lattice = Lattice(card.lattice)
            potential = ActionPotential(build_action(card), lattice, card.dtype)
            mass = section.fourier_mass
            kinetic = None if mass is None else FourierMass(lattice, m_sq=mass, dtype=card.dtype)
            extra = {"fourier_mass": mass, "start": section.start}
            driver = _hmc(card, section, potential, kinetic, section.start, measure)
            return Chains(section, driver, attributes=extra)
        case TrivialisedSampling() as section:
            flow, action, _ = load_flow(run)
            certified = Certified(run, flow, action, card, section.integration_steps)
            driver = _hmc(card, section, PulledBack(certified.flow, action), None, "hot", measure)
            return Chains(section, driver, attributes=certified.attributes, certified=certified)
        case ClusterSampling() as section:
            return _cluster(card, section, measure)
        case AnnealedSampling() as section:
            return _annealed(run, card, section, measure)
    raise AssertionError(card.sampling.kind)


def _flow(run: RunDirectory, card: RunCard, section: FlowSampling, measure: Measure | None) -> AbstractSource:
    flow, action, _ = load_flow(run)
    certified = Certified(run, flow, action, card, section.integration_steps)
    return Proposals(
        card,
        IndependenceMetropolis(certified.flow, action),
        action,
        attributes=certified.attributes,
        flow=certified.flow,
        certified=certified,
        measure=measure,
    )


def _hmc(
    card: RunCard,
    section: HmcSampling | TrivialisedSampling,
    potential: AbstractPotential,
    kinetic: Any,
    start: str,
    measure: Measure | None,
) -> MarkovChains:
    from trivmap.observables import measure as measure_all

    kernel = HMC(
        potential,
        step_size=section.step_size or _FIRST_STEP,
        trajectory_length=section.trajectory_length,
        integrator=INTEGRATORS[section.integrator],
        kinetic=kinetic,
    )
    return MarkovChains(
        kernel,
        keys(card)["sample"],
        chains=section.chains,
        measure=measure or partial(measure_all, build_action(card)),
        start=start,
        warmup=section.warmup or 0,
        target=section.target_acceptance if section.step_size is None else None,
    )


def _cluster(card: RunCard, section: ClusterSampling, measure: Measure | None) -> AbstractSource:
    update = SwendsenWang() if section.algorithm == "swendsen-wang" else Wolff(section.wolff_updates)
    kernel = ClusterCycle(build_action(card), Lattice(card.lattice), update=update, sweeps=section.local_updates)
    driver = ClusterChains(
        kernel, keys(card)["sample"], chains=section.chains, warmup=section.warmup or 0, measure=measure
    )
    extra = {
        "algorithm": section.algorithm,
        "local_updates": section.local_updates,
        "wolff_updates": section.wolff_updates,
    }
    return Chains(section, driver, attributes=extra)


def _annealed(run: RunDirectory, card: RunCard, section: AnnealedSampling, measure: Measure | None) -> AbstractSource:
    raise NotImplementedError
