"""The random streams of a run: one key for each use of randomness, from what is drawn."""

from typing import Any

import jax

from trivmap._types import Key
from trivmap.cards.card import RunCard
from trivmap.cards.fields import Section
from trivmap.cards.first_names import IN_STREAMS
from trivmap.cards.registry import shortened
from trivmap.streams import distinct


def keys(card: RunCard) -> dict[str, Key]:
    """One independent key for each use of randomness, from the card's seed and from what is drawn.

    Runs of one seed share no random numbers if they differ in lattice, dtype, action or model. Their samples share none
    if they differ in the sampler or in the training of the map. With `common_noise` the seed alone counts. Numbers of
    chains and proposals, parts and batches, the warm-up and names never count, since a run may continue with others.
    """
    root = jax.random.key(card.seed)
    uses = ("init", "train", "sample", "stages", "probe")
    found = {use: jax.random.fold_in(root, number) for number, use in enumerate(uses)}
    if card.common_noise:
        return found
    theory = [card.lattice, card.dtype, _facts(card.action), _facts(card.model)]
    own = {name: value for name, value in card.sampling.own_settings.items() if name != "integration_steps"}
    samples = [*theory, _training_facts(card), IN_STREAMS.get(card.sampling.kind, card.sampling.kind), own]
    return {use: distinct(key, *(theory if use in ("init", "train") else samples)) for use, key in found.items()}


def _facts(section: Section | None) -> dict[str, Any] | None:
    """The section without its defaults: a key that a later version adds leaves the random streams as they are."""
    return None if section is None else _first_names(section.model_dump(mode="json", exclude_defaults=True))


def _first_names(data: Any) -> Any:
    if isinstance(data, dict):
        return {IN_STREAMS.get(key, key): _first_names(value) for key, value in data.items()}
    return [_first_names(each) for each in data] if isinstance(data, list) else data


def _training_facts(card: RunCard) -> list[Any]:
    """The settings that determine the trained map on every lattice, without its evaluation and its start."""
    facts = []
    for rung in card.rungs():
        if (own := rung.training) is not None:
            sections = [_facts(each) for each in (rung.action, own.optimizer, own.temperature, own.stop)]
            facts.append([rung.lattice, *sections, shortened(own.objective), own.phases, own.clip, own.ema])
    return facts
