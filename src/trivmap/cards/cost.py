"""The cost of the training of a card, before anything is built."""

from trivmap.cards.build import build_training
from trivmap.cards.card import RunCard


def training_configurations(card: RunCard) -> int:
    """The largest number of configurations on which training steps evaluate the map, including those of a ladder.

    Evaluations of the acceptance are not counted.

    Args:
        card: a run card; without training the cost is 0.
    """
    if card.training is None:
        return 0
    return sum(build_training(rung).configurations_until(rung.training.steps) for rung in card.rungs() if rung.training)
