"""Cards in few words, and lines in columns."""

import pytest

from trivmap.cards.card import load_card
from trivmap.cards.cost import training_configurations
from trivmap.cli.columns import action_text, aligned, lattice_text, method_text


def test_columns_are_as_wide_as_their_widest_cell():
    lines = aligned(("name", "n"), [("a", "10"), ("longer", "3")], right=("n",))
    assert lines == ["name     n", "a       10", "longer   3"]
    assert aligned(("run", "name"), [("y" * 50, "x" * 100)])[1] == f"{'y' * 50}  {'x' * 37}..."
    assert aligned(("name", "n"), []) == ["name  n"]


@pytest.mark.parametrize(
    ("lattices", "text"),
    [([[8, 8]], "8x8"), ([[16, 16], [8, 8]], "8x8 to 16x16"), ([[4], [4, 4, 8]], "4 to 4x4x8")],
)
def test_lattices(lattices, text):
    assert lattice_text(lattices) == text


def test_actions():
    phi4 = {"kind": "phi4", "notation": "bosetti2015", "beta": 0.576, "lam": 0.5}
    assert action_text([phi4]) == "phi4 beta=0.576 lam=0.5"
    assert action_text([phi4, phi4 | {"beta": 0.4}]) == "phi4 beta=0.4..0.576 lam=0.5"
    assert action_text([{"kind": "mine:Action", "name": "a"}]) == "mine:Action name=a"


def test_methods():
    maps = [{"kind": "affine"}, {"kind": "affine"}, {"kind": "rescale"}]
    assert method_text({"model": {"maps": maps}}) == "flow: affine, rescale"
    assert method_text({"model": None, "sampling": {"kind": "hmc"}}) == "hmc"


def test_configurations_of_a_ladder_are_counted():
    card = load_card("phi4-L64")
    steps = sum(rung.training.steps * rung.training.batch for rung in card.rungs())
    assert len(card.rungs()) > 1 and training_configurations(card) == steps
    assert training_configurations(load_card("free-L8", ["training=null"])) == 0
