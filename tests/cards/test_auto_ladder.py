"""`ladder: auto`: the rungs that it stands for."""

import math

import pytest

from trivmap.cards.card import RunCard, load_card
from trivmap.errors import InputError


def rungs(*overrides, preset="phi4-L8"):
    return load_card(preset, overrides).to_data()["training"]["ladder"]


def test_none_on_the_line_of_constant_physics():
    assert rungs() == []
    assert rungs("lattice=[16,16]", "action.beta=0.6") == []


@pytest.mark.parametrize("beta", [0.66, 0.72, 0.8])
def test_rungs_lead_to_the_coupling(beta):
    found = rungs(f"action.beta={beta}")
    betas = [rung["action"]["beta"] for rung in found]
    assert betas == sorted(betas) and betas[-1] < beta and betas[0] == pytest.approx(0.6004, abs=1e-4)
    assert all(rung["lattice"] == [8, 8] and rung["steps"] == 10 for rung in found)
    cards = load_card("phi4-L8", [f"action.beta={beta}"]).rungs()
    assert [card.action.beta for card in cards] == [*betas, beta]
    assert all(card.training.ladder == [] for card in cards[:-1])


def test_the_coupling_of_every_notation():
    """phi^4 at beta = 0.8, lam = 0.5 in other notations: the same number of rungs."""
    other = {
        "nicoli2020": ["action={kind: phi4, notation: nicoli2020, kappa: 0.4, lam: 0.5}"],
        "standard": [f"action={{kind: phi4, notation: standard, m_sq: -4, g: {24 * 0.5 / 0.64}}}"],
        "albergo2019": [f"action={{kind: phi4, notation: albergo2019, m_sq: -4, lam: {4 * 0.5 / 0.64}}}"],
    }
    number = len(rungs("action.beta=0.8"))
    for notation, overrides in other.items():
        found = rungs(*overrides)
        assert abs(len(found) - number) <= 1, notation
        (name,) = found[0]["action"]
        assert name == {"nicoli2020": "kappa"}.get(notation, "m_sq")
        values = [rung["action"][name] for rung in found]
        assert values == sorted(values, reverse=name == "m_sq")


def test_three_dimensions():
    found = rungs("lattice=[6,6,6]", "action.beta=0.53")
    assert next(rung["action"]["beta"] for rung in found) == pytest.approx(0.3638, abs=1e-4)
    assert 6 <= len(found) <= 12


def test_written_out_it_stays_what_it_is():
    card = load_card("phi4-L8", ["action.beta=0.72"])
    assert RunCard.from_data(card.to_data()) == card
    assert RunCard.from_data(card.to_data()).digest() == card.digest()


def test_an_action_of_ones_own_has_none():
    assert rungs("action={kind: my_module:MyAction, beta: 0.9}") == []


def test_another_word_is_refused():
    with pytest.raises(InputError, match=r"training\.ladder: must be 'auto'"):
        rungs("training.ladder=automatic")
    assert math.ceil(2 / 3 * 15) == 10
