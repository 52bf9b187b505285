"""From the section `sampling` of a run card to the source of its samples."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax

from trivmap.actions import AbstractAction
from trivmap.bases import FreeField
from trivmap.bijections import Chain
from trivmap.cards.build import build_action
from trivmap.cards.card import RunCard
from trivmap.cards.own import observables
from trivmap.cards.sampling import (
    AnnealedSampling,
    ClusterSampling,
    FlowSampling,
    HamiltonianSampling,
    HmcSampling,
    TrivialisedSampling,
)
from trivmap.flows import Flow
from trivmap.lattice import Lattice
from trivmap.runs.certified import Certified
from trivmap.runs.chains import Chains
from trivmap.runs.keys import keys
from trivmap.runs.pipeline import load_flow
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

if TYPE_CHECKING:
    from trivmap.observables import Observable

_FIRST_STEP = 0.1
"""Where the adaptation of the step size begins."""


def build_source(run: RunDirectory, card: RunCard, measure: Measure | None = None) -> AbstractSource:
    """The sampler that a card asks for, through the run's map where it has one.

    `measure`: other measurements of one configuration than those of the theory and of the card's own observables, which
    the pipeline needs.
    """
    from trivmap.observables import measure as measure_all

    own = observables(card)
    if isinstance(card.sampling, ClusterSampling):
        return _cluster(card, card.sampling, measure, own)
    measure = measure or eqx.Partial(measure_all, build_action(card), own=own)
    match card.sampling:
        case FlowSampling() as section:
            return _flow(run, card, section, measure)
        case HmcSampling() as section:
            lattice = Lattice(card.lattice)
            potential = ActionPotential(build_action(card), lattice, card.dtype)
            mass = section.fourier_mass
            kinetic = None if mass is None else FourierMass(lattice, m_sq=mass, dtype=card.dtype)
            driver = _hmc(card, section, potential, kinetic, section.start, measure)
            return Chains(section, driver)
        case TrivialisedSampling() as section:
            certified, action = _certified(run, card, section.integration_steps, measure)
            driver = _hmc(card, section, PulledBack(certified.flow, action), None, "hot", measure)
            return Chains(section, driver, certified=certified)
        case AnnealedSampling() as section:
            return _annealed(run, card, section, measure)
    raise AssertionError(card.sampling.kind)


def _certified(
    run: RunDirectory, card: RunCard, wanted: int | None, measure: Measure
) -> tuple[Certified, AbstractAction]:
    """The run's trained flow and its action."""
    flow, action, _ = load_flow(run)
    return Certified(run, flow, action, card, wanted, measure), action


def _flow(run: RunDirectory, card: RunCard, section: FlowSampling, measure: Measure) -> AbstractSource:
    certified, action = _certified(run, card, section.integration_steps, measure)
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
        keys(card)["sample"],
        chains=section.chains,
        measure=measure,
        start=start,
        warmup=section.warmup or 0,
        target=section.target_acceptance if section.step_size is None else None,
    )


def _cluster(
    card: RunCard, section: ClusterSampling, measure: Measure | None, own: "Sequence[Observable]"
) -> AbstractSource:
    from trivmap.observables.measure import measure_own

    update = SwendsenWang() if section.algorithm == "swendsen-wang" else Wolff(section.wolff_updates)
    action = build_action(card)
    kernel = ClusterCycle(action, Lattice(card.lattice), update=update, sweeps=section.local_updates)
    driver = ClusterChains(
        kernel,
        keys(card)["sample"],
        chains=section.chains,
        warmup=section.warmup or 0,
        measure=measure,
        also=eqx.Partial(measure_own, action, own) if own and measure is None else None,
    )
    return Chains(section, driver)


def _annealed(run: RunDirectory, card: RunCard, section: AnnealedSampling, measure: Measure) -> AbstractSource:
    action, lattice, key = build_action(card), Lattice(card.lattice), keys(card)["sample"]
    certified: Certified | None = None
    flow: Flow | None = None
    move: AbstractMove
    if section.moves == "heat-bath":
        path: AbstractPath = HoppingPath(lattice, action, dtype=card.dtype)
        move = HeatBath(section.updates)
        moves = [move]
    else:
        if card.model is None:
            flow = Flow(FreeField.hartree(lattice, action, learnable=False, dtype=card.dtype), Chain(lattice, []))
        else:
            certified, action = _certified(run, card, section.integration_steps, measure)
            flow = certified.flow
        path = FlowPath(flow, action)
        steps = 1 if section.moves == "langevin" else section.leapfrog_steps
        move = Hamiltonian(section.step_size or _FIRST_STEP, steps)
        moves = [move] * section.updates
    levels = annealing_levels(section.steps, 2.0 if section.schedule == "quadratic" else 1.0)
    kernel = Annealed(path, levels, moves, particles=section.particles, threshold=section.resample)
    if section.moves != "heat-bath" and section.step_size is None:
        kernel = tune_step_size(kernel, jax.random.fold_in(key, 2**32 - 3))
    settings = section.own_settings
    # The attribute "steps" of a part counts its own.
    attributes = {"annealing_steps": settings.pop("steps"), **settings}
    attributes |= certified.attributes if certified is not None else {}
    sizes = [float(move.step_size) for move in kernel.moves if isinstance(move, Hamiltonian)]
    facts = {"step_size": sizes[0]} if sizes else {}
    return Proposals(
        card, kernel, action, attributes=attributes, flow=flow, certified=certified, facts=facts, measure=measure
    )
