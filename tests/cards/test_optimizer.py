"""The section training.optimizer where it is gauss-newton."""

import pytest

from tests.runs.support import CARD
from trivmap.cards.card import RunCard
from trivmap.cards.overrides import apply_overrides
from trivmap.errors import InputError

SECOND = "training.optimizer.kind=gauss-newton"


def changed(*overrides: str) -> RunCard:
    return RunCard.from_data(apply_overrides(CARD, overrides))


def test_every_setting_is_written_out_and_the_learning_rate_is_dropped():
    section = changed(SECOND, "training.optimizer.damping=0.1").training.optimizer
    assert section.learning_rate is None
    assert section.arguments["damping"] == 0.1 and section.arguments["memory"] == 0.8


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.optimizer.damping=", r"training\.optimizer\.damping: must be a number, got nothing"),
        ("training.optimizer.damping=-1", r"training\.optimizer: damping: -1\.0 is out of range for gauss-newton"),
        ("training.optimizer.iterations=2.5", r"training\.optimizer\.iterations: must be a whole number, got 2\.5"),
        ("training.optimizer.dampin=1", r"training\.optimizer\.dampin: unknown key; did you mean damping"),
        ("training.optimizer.objective=lk", r"training\.optimizer\.objective: 'lk' is unknown; did you mean kl"),
        ("training.optimizer.space=sample", r"training\.optimizer\.space: 'sample' is unknown; did you mean samples"),
        ("training.optimizer.finish=-1", r"training\.optimizer: finish: -1 is out of range for gauss-newton"),
        ("training.optimizer.radius=0", r"training\.optimizer: radius: 0\.0 is out of range for gauss-newton"),
        ("training.optimizer.learning_rate=0.1", r"training\.optimizer\.learning_rate: gauss-newton has none"),
        ("training.temperature.start=2", r"training\.temperature\.start: must be 1 with gauss-newton"),
    ],
)
def test_refusals(override, message):
    with pytest.raises(InputError, match=message):
        changed(SECOND, override)
