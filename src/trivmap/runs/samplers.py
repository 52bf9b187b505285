"""From the section `sampling` of a run card to the source of its samples."""

from trivmap.runs.card import RunCard
from trivmap.runs.card_sampling import FlowSampling
from trivmap.runs.directory import RunDirectory
from trivmap.runs.pipeline import load_flow
from trivmap.runs.proposals import Certified, Proposals
from trivmap.runs.sources import AbstractSource
from trivmap.samplers import IndependenceMetropolis


def build_source(run: RunDirectory, card: RunCard) -> AbstractSource:
    """The sampler that a card asks for, on the run's trained map where it needs one."""
    match card.sampling:
        case FlowSampling() as section:
            return _flow(run, card, section)
    raise AssertionError(card.sampling.kind)


def _flow(run: RunDirectory, card: RunCard, section: FlowSampling) -> AbstractSource:
    flow, action, _ = load_flow(run)
    certified = Certified(run, flow, action, card, section.integration_steps)
    return Proposals(
        card,
        IndependenceMetropolis(certified.flow, action),
        action,
        attributes=certified.attributes,
        flow=certified.flow,
        certified=certified,
    )
