"""Cards from before the spelling was settled are refused with the name that replaces the old one."""

import pytest

from trivmap.cards.card import load_card
from trivmap.errors import InputError


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("training.optimiser.kind=adam", "training.optimiser: unknown key; it is called optimizer now"),
        ("sampling.kind=trivialised-hmc", "'trivialised-hmc' is unknown; did you mean trivialized-hmc?"),
        ("model.base.spectrum=fixed", "model.base.spectrum: unknown key; it is called learnable now"),
        ("follows=arXiv:2105.12481", "follows: unknown key; it is called reference now"),
        ("model.base.start=hartree", "model.base.start: unknown key; it is called mass_squared now"),
        (
            "model.maps.0={kind: continuous, features: {neighbours: [1.0]}}",
            "model.maps.0.features.neighbours: unknown key; it is called neighbors now",
        ),
    ],
)
def test_the_new_name_is_named(override, sentence):
    with pytest.raises(InputError) as caught:
        load_card("phi4-L8", [override])
    assert sentence in str(caught.value)
