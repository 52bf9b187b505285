"""The objects of the numeric floors that a run card describes."""

import jax
import jax.numpy as jnp

from trivmap._types import Key
from trivmap.actions import AbstractAction, Decimated
from trivmap.bases import DecimatedFreeField, FreeField
from trivmap.bijections import AbstractBijection, Chain
from trivmap.cards.card import RunCard
from trivmap.cards.kernels import KernelSampling, LibrarySampling
from trivmap.cards.registry import KERNELS, build_own
from trivmap.errors import InputError
from trivmap.flows import Flow
from trivmap.lattice import Lattice
from trivmap.samplers.kernel import AbstractKernel
from trivmap.training import Phase, TrainingPlan
from trivmap.training.schedules import temperature_schedule


def build_action(card: RunCard) -> AbstractAction:
    """The action of a card, on the card's lattice."""
    return card.action.build("action", dimension=len(card.lattice), lattice=Lattice(card.lattice))


def build_target(card: RunCard, action: AbstractAction) -> AbstractAction:
    """The action that the flow is compared with: the card's `action`, or that with the odd sites integrated out."""
    return Decimated(action, Lattice(card.lattice)) if card.model is not None and card.model.sites == "even" else action


def build_flow(card: RunCard, action: AbstractAction, key: Key) -> Flow:
    """The untrained flow of a card and its `action`; `key` initializes its networks."""
    if card.model is None:
        raise InputError("model: missing; this run needs a map, so give the section {base: ..., maps: [...]}")
    lattice, dtype, even = Lattice(card.lattice), jnp.dtype(card.dtype), card.model.sites == "even"
    maps: list[AbstractBijection] = []
    for position, section in enumerate(card.model.maps):
        offered = {"lattice": lattice, "even": even, "dtype": dtype, "key": jax.random.fold_in(key, position)}
        made = section.build(f"model.maps.{position}", **offered)
        # Each part of a stack counts as a map, and so as a stage.
        maps += made.maps if isinstance(made, Chain) else [made]
    hot = card.training.temperature.start if card.training else 1.0
    base = card.model.base.build("model.base", lattice=lattice, action=action, temperature=hot, dtype=dtype)
    if even:
        if not isinstance(base, FreeField):
            raise InputError(f"model.base: {card.model.base.named} has no even sites; sites: even needs free-field")
        base = DecimatedFreeField(base)
    return Flow(base, Chain(lattice, maps))


def build_training(card: RunCard) -> TrainingPlan:
    """The training plan of a card; the configurations of another run, if it names one for its data, are not read."""
    section = card.training
    if section is None:
        raise InputError("training: missing; give the section with steps, batch and optimizer")
    assert section.objective is not None
    objective, evaluate_every = section.objective.build("training.objective"), section.evaluate.every
    if "data" in objective.draws and section.temperature.start != 1:
        raise InputError("training.temperature.start: must be 1 with configurations of the target, which have no other")
    return TrainingPlan(
        objective=objective,
        optimizer=section.optimizer.build("training.optimizer", steps=section.steps, clip=section.clip),
        temperature=temperature_schedule(
            section.temperature.start, section.temperature.steps or 1, section.temperature.schedule
        ),
        phases=[Phase(steps, batch) for steps, batch in section.phases],
        data=None if section.data is None else section.data.build("training.data"),
        moving_average=section.ema,
        chunk=section.chunk or default_chunk(section.steps, evaluate_every),
        evaluate_every=evaluate_every,
        evaluate_proposals=section.evaluate.proposals,
        evaluate_batch=section.evaluate.batch,
        checkpoint_every=section.checkpoint.every or evaluate_every,
        stop_acceptance=section.stop.acceptance,
        stop_seconds=section.stop.seconds,
    )


def build_kernel(card: RunCard, action: AbstractAction, flow: Flow | None) -> AbstractKernel:
    """The kernel that a card names, for its `action`; `flow` is the trained map if the card has a model."""
    section = card.sampling
    assert isinstance(section, KernelSampling)
    kind, lattice = section.kind, Lattice(card.lattice)
    offered = {"action": action, "lattice": lattice, "dtype": jnp.dtype(card.dtype)}
    offered |= {} if flow is None else {"flow": flow}
    if isinstance(section, LibrarySampling):
        return section.kernel(**offered)
    kernel = build_own(kind, section.arguments, KERNELS.by_key.own, "sampling", offered)
    if kernel.lattice != lattice:
        raise InputError(f"sampling.kind: {kind} makes a kernel on {kernel.lattice}, but the card has {lattice}")
    return kernel


def default_chunk(steps: int, evaluate_every: int) -> int:
    """The steps of a chunk: about 200 logged points per run, and if possible whole chunks between evaluations."""
    wanted = max(1, min(steps // 200, evaluate_every, 50))
    divisors = [n for n in range(1, wanted + 1) if evaluate_every % n == 0]
    return divisors[-1]
