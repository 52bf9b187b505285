"""The section training.optimiser where it is gauss-newton."""

import pytest

from tests.runs.support import CARD
from trivmap.cards.card import RunCard
from trivmap.cards.overrides import apply_overrides
from trivmap.errors import InputError

SECOND = "training.optimiser.kind=gauss-newton"


def changed(*overrides: str) -> RunCard:
    return RunCard.from_data(apply_overrides(CARD, overrides))


def test_every_setting_is_written_out_and_the_learning_rate_is_dropped():
    section = changed(SECOND, "training.optimiser.damping=0.1").training.optimiser
    assert section.learning_rate is None
    assert section.arguments["damping"] == 0.1 and section.arguments["memory"] == 0.8


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.optimiser.damping=", r"training\.optimiser\.damping: must be a number, got nothing"),
        ("training.optimiser.damping=-1", r"training\.optimiser: damping: -1\.0 is out of range for gauss-newton"),
        ("training.optimiser.iterations=2.5", r"training\.optimiser\.iterations: must be a whole number, got 2\.5"),
        ("training.optimiser.dampin=1", r"training\.optimiser\.dampin: unknown key; did you mean damping"),
        ("training.optimiser.objective=lk", r"training\.optimiser\.objective: 'lk' is unknown; did you mean kl"),
        ("training.optimiser.space=sample", r"training\.optimiser\.space: 'sample' is unknown; did you mean samples"),
        ("training.optimiser.finish=-1", r"training\.optimiser: finish: -1 is out of range for gauss-newton"),
        ("training.optimiser.radius=0", r"training\.optimiser: radius: 0\.0 is out of range for gauss-newton"),
        ("training.optimiser.learning_rate=0.1", r"training\.optimiser\.learning_rate: gauss-newton has none"),
        ("training.temperature.start=2", r"training\.temperature\.start: must be 1 with gauss-newton"),
    ],
)
def test_refusals(override, message):
    with pytest.raises(InputError, match=message):
        changed(SECOND, override)
