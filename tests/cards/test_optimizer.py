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
    section = changed(SECOND, "training.optimizer.damping=0.1").to_data()["training"]["optimizer"]
    assert "learning_rate" not in section
    assert section["damping"] == 0.1 and section["memory"] == 0.8


def test_the_objective_is_stated_once_and_belongs_to_the_optimizer():
    def objective(*overrides):
        return changed(*overrides).to_data()["training"]["objective"]

    assert objective() == "path-gradient" and objective(SECOND) == "variance"
    assert objective(SECOND, "training.objective=path-gradient") == "path-gradient"
    written = changed(SECOND).to_data()
    assert apply_overrides(written, ["training.optimizer.kind=gauss-newton"])["training"]["objective"] == "variance"
    named = apply_overrides(
        written, ["training.optimizer={kind: adam, learning_rate: 0.1}", "training.objective.kind=reverse-kl"]
    )
    assert RunCard.from_data(named).to_data()["training"]["objective"] == "reverse-kl"
    back = apply_overrides(written, ["training.optimizer={kind: adam, learning_rate: 0.1}"])
    assert RunCard.from_data(back).to_data()["training"]["objective"] == "path-gradient"


def test_the_objective_of_a_rung_belongs_to_its_optimizer():
    ladder = [{"lattice": [2, 2], "optimizer": {"kind": "gauss-newton"}}]
    first, last = changed(f"training.ladder={ladder}").rungs()
    assert first.to_data()["training"]["objective"] == "variance"
    assert last.to_data()["training"]["objective"] == "path-gradient"
    ladder = [{"lattice": [2, 2], "optimizer": {"kind": "adam", "learning_rate": 0.1}}]
    first, last = changed("training.objective=reverse-kl", f"training.ladder={ladder}").rungs()
    assert first.to_data()["training"]["objective"] == "reverse-kl"


@pytest.mark.parametrize("kind", ["[1]", "{a: 1}", "1", "null"])
def test_kinds_that_are_no_text(kind):
    with pytest.raises(InputError, match=r"training\.optimizer\.kind: "):
        changed(f"training.optimizer.kind={kind}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.optimizer.damping=", r"training\.optimizer\.damping: must be a number, got nothing"),
        ("training.optimizer.damping=-1", r"training\.optimizer\.damping: must be greater than 0, got -1\.0"),
        ("training.optimizer.iterations=2.5", r"training\.optimizer\.iterations: must be a whole number, got 2\.5"),
        ("training.optimizer.dampin=1", r"training\.optimizer\.dampin: unknown key; did you mean damping"),
        (
            "training.optimizer.objective=lk",
            r"training\.optimizer\.objective: unknown key; it is training\.objective n",
        ),
        ("training.optimizer.space=sample", r"training\.optimizer\.space: 'sample' is unknown; did you mean samples"),
        ("training.optimizer.finish=-1", r"training\.optimizer\.finish: must be at least 0, got -1"),
        ("training.optimizer.radius=0", r"training\.optimizer\.radius: must be greater than 0, got 0\.0"),
        (
            "training.optimizer.learning_rate=0.1",
            r"training\.optimizer\.learning_rate: unknown key; known here: kind, f",
        ),
        ("training.temperature.start=2", r"training\.temperature\.start: must be 1 with gauss-newton"),
    ],
)
def test_refusals(override, message):
    with pytest.raises(InputError, match=message):
        changed(SECOND, override)
