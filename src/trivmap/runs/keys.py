"""The random streams of a run: one key for each use of randomness, derived from what is drawn."""

from typing import Any

import jax

from trivmap._types import Key
from trivmap.cards.card import RunCard
from trivmap.cards.fields import Section
from trivmap.cards.first_names import in_streams
from trivmap.cards.optimizer import minimizes_by_default
from trivmap.cards.registry import shortened
from trivmap.cards.training import Training
from trivmap.streams import distinct

_NAMES_AND_CHECKS = ("integration_steps", "begin_at")
"""Settings of a sampler that do not change its streams: a number that a check may choose, and the name of a file."""


def keys(card: RunCard) -> dict[str, Key]:
    """One independent key for each use of randomness, derived from the card's seed and from what is drawn.

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
    own = {name: value for name, value in card.sampling.own_settings.items() if name not in _NAMES_AND_CHECKS}
    samples = [*theory, _training_facts(card), in_streams(card.sampling.kind), own]
    return {use: distinct(key, *(theory if use in ("init", "train") else samples)) for use, key in found.items()}


def _facts(section: Section | None) -> dict[str, Any] | None:
    """The section without its defaults, so that a key added in a later version does not change the random streams."""
    return None if section is None else in_streams(section.model_dump(mode="json", exclude_defaults=True))


def _training_facts(card: RunCard) -> list[Any]:
    """The settings that determine the trained map on every lattice, without its evaluation and its start."""
    facts = []
    for rung in card.rungs():
        if (own := rung.training) is not None:
            optimizer, objective = _minimization(own)
            sections = [_facts(rung.action), optimizer, _facts(own.temperature), _facts(own.stop)]
            facts.append([rung.lattice, *sections, objective, own.phases, own.clip, own.ema])
            # The name of a run does not count.
            facts[-1] += [] if own.data is None else [own.data.named]
    return facts


def _minimization(section: Training) -> tuple[Any, Any]:
    """The facts of optimizer and objective at their original places: for Gauss-Newton, in its own section."""
    optimizer, objective = section.optimizer, shortened(section.objective)
    if minimizes_by_default(optimizer) != "variance":
        return _facts(optimizer), objective
    kind = objective if objective == "variance" else "kl"
    return {**optimizer.model_dump(mode="json"), "objective": kind}, "path-gradient"
