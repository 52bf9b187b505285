import pytest

from trivmap.cards.card import RunCard, load_card
from trivmap.cards.headings import heading
from trivmap.studies.compare_card import load_compare_card
from trivmap.studies.scaling.card import load_study_card

ORIGINAL = load_card("phi4-L8")


@pytest.mark.parametrize(
    ("overrides", "changed"),
    [
        (["lattice=[10, 10]", "action.beta=0.601"], "lattice, action"),
        (["action.beta=0.6"], "action"),
        (["model.sites=all"], "model"),
        (["training.steps=30"], "training"),
    ],
)
def test_texts_of_another_card_are_not_carried_over(overrides, changed):
    card = load_card("phi4-L8", overrides)
    assert (card.description, card.reference, card.deviations) == (f"changed from phi4-L8: {changed}", None, None)
    assert heading(card.name, card.description) == f"changed from phi4-L8: {changed}"
    again = RunCard.from_data(card.to_data()).with_overrides(["sampling.proposals=8000"])
    assert again.description == card.description


@pytest.mark.parametrize("overrides", [[], ["seed=3", "sampling.proposals=8000"], ["action.beta=0.576"]])
def test_they_stay_where_they_are_true(overrides):
    card = load_card("phi4-L8", overrides)
    assert (card.description, card.reference) == (ORIGINAL.description, ORIGINAL.reference)
    assert heading(card.name, card.description) == "phi4-L8"


def test_a_description_that_is_given_stays():
    card = load_card("phi4-L8", ["lattice=[16, 16]", "description=my own point"])
    assert (card.description, card.reference) == ("my own point", None)


def test_comparisons_and_studies_as_well():
    compared = load_compare_card("compare-L8", ["action.beta=0.6"])
    assert (compared.description, compared.reference) == ("changed from compare-L8: action", None)
    study = load_study_card("quick-study", ["extents=[4, 6]"])
    assert study.description == "changed from quick-study: extents"
