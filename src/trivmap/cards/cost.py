"""What the training of a card costs, before anything is built."""

from trivmap.cards.build import build_training
from trivmap.cards.card import RunCard


def training_configurations(card: RunCard) -> int:
    """The most configurations on which the steps of training evaluate the map, those of a ladder included.

    Evaluations of the acceptance are not counted.

    Args:
        card: a run card; without training it costs nothing.
    """
    if card.training is None:
        return 0
    return sum(build_training(rung).configurations_until(rung.training.steps) for rung in card.rungs() if rung.training)
