"""The cards that are shipped, listed."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from trivmap.cli.columns import NONE, action_text, aligned, grouped, lattice_text, method_text
from trivmap.cli.terminal import say

_HEADER = ("name", "lattice", "action", "method", "training", "proposals")


class _Entry(NamedTuple):
    """One line for a shipped card: its runs, and the training configurations and proposals that they take."""

    lattices: list[list[int]]
    actions: list[dict[str, Any]]
    method: str
    runs: int
    configurations: int
    proposals: int

    def cells(self, name: str) -> list[str]:
        training = grouped(self.configurations) if self.configurations else NONE
        what = (lattice_text(self.lattices), action_text(self.actions), self.method)
        return [name, *what, training, grouped(self.proposals)]


def list_presets(name: str | None, as_json: bool) -> None:
    """List the cards of `trivmap presets`, or print one."""
    from trivmap.cards.presets import RUNS, preset_names, preset_text
    from trivmap.cards.presets import presets as all_presets
    from trivmap.studies import compare_card
    from trivmap.studies.scaling import card as study_card

    kinds = {"run": RUNS, "compare": compare_card.PRESETS, "study": study_card.PRESETS}
    if name is not None:
        package = next((package for package in kinds.values() if name in preset_names(package)), RUNS)
        say(preset_text(name, package), end=False)
    elif as_json:
        listed = [
            {**preset._asdict(), "command": use, **_entry(use, preset.name)._asdict()}
            for use, package in kinds.items()
            for preset in all_presets(package)
        ]
        say(json.dumps(listed, indent=2))
    else:
        for kind, package in kinds.items():
            say(f"{kind.capitalize()} cards, for trivmap {kind}:", bold=True)
            rows = [_entry(kind, each).cells(each) for each in preset_names(package)]
            for line in aligned(_HEADER, rows, right=("training", "proposals")):
                say(line)
            say("")
        say("training: the most configurations on which steps of training evaluate the map, in all runs of a card.")
        say("trivmap presets NAME prints a card with what it is for, what it follows and where it deviates.")


def _entry(kind: str, name: str) -> _Entry:
    from trivmap.cards.card import load_card
    from trivmap.studies.compare_card import load_compare_card
    from trivmap.studies.scaling.card import load_study_card

    if kind == "run":
        card = load_card(name)
        return _described([card], method_text(card.to_data()))
    if kind == "compare":
        cards = load_compare_card(name).cards
        return _described(cards.values(), f"{len(cards)} samplers")
    study = load_study_card(name)
    runs = [run.card for run in study.runs.values()]
    return _described(runs, f"{len(runs)} runs, {len(study.series)} series")


def _described(cards: Iterable[Any], method: str) -> _Entry:
    from trivmap.cards.cost import training_configurations

    cards = list(cards)
    several = [card.to_data()["action"] for card in cards]
    return _Entry(
        lattices=sorted({tuple(card.lattice): list(card.lattice) for card in cards}.values()),
        actions=[action for position, action in enumerate(several) if action not in several[:position]],
        method=method,
        runs=len(cards),
        configurations=sum(map(training_configurations, cards)),
        proposals=sum(card.sampling.proposals for card in cards),
    )
