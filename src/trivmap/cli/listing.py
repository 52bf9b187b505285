"""The cards that are shipped, listed."""

import json
from typing import Any

import click

from trivmap.cli.terminal import say


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
        cards = {kind: all_presets(package) for kind, package in kinds.items()}
        listed = [{**preset._asdict(), "command": use} for use, several in cards.items() for preset in several]
        say(json.dumps(listed, indent=2))
    else:
        for kind, package in kinds.items():
            say(f"{kind.capitalize()} cards, for trivmap {kind}:")
            for preset in all_presets(package):
                _explain(preset)


def _explain(preset: Any) -> None:
    """Print a preset with its description."""
    say(preset.name, bold=True)
    for label, text in (
        ("", preset.description),
        ("reference: ", preset.reference),
        ("deviations: ", preset.deviations),
    ):
        say(click.wrap_text(label + " ".join(text.split()), width=100, initial_indent="  ", subsequent_indent="  "))
