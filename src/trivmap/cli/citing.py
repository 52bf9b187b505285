"""The command that prints what to cite."""

import os

from trivmap.cli.terminal import say


def print_citations(source: str) -> None:
    """The work of `trivmap cite`."""
    from trivmap.cards.citations import bibtex, bibtex_of_trivmap, cited
    from trivmap.cli.any_card import load_any
    from trivmap.store.directory import RunDirectory

    cards = [RunDirectory.open(source).card()] if os.path.isdir(source) else load_any(source).runs.values()
    reasons: dict[str, list[str]] = {}
    for card in cards:
        for number, why in cited(card.to_data()).items():
            reasons[number] = list(dict.fromkeys([*reasons.get(number, []), *why]))
    for each in (bibtex_of_trivmap(), *(bibtex(number, why) for number, why in reasons.items())):
        say(f"{each}\n")
