"""A card of any kind: of a run, a comparison or a study."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from trivmap.cards.card import RunCard


class AnyCard(NamedTuple):
    """A card that was loaded, the command that runs it, and the cards of its runs by name."""

    command: str
    loaded: Any
    runs: "Mapping[str, RunCard]"


def load_any(source: str, overrides: tuple[str, ...] = ()) -> AnyCard:
    """The card of a file or of a preset of any kind.

    Args:
        source: the file or the name of the preset.
        overrides: changes such as `lattice=[8, 8]`.
    """
    from trivmap.cards.card import load_card, read_data
    from trivmap.cards.presets import preset_names
    from trivmap.studies.compare_card import is_comparison, load_compare_card
    from trivmap.studies.scaling.card import is_study, load_study_card

    is_preset = is_comparison(source) or is_study(source) or source in preset_names()
    data = None if is_preset else read_data(source)
    keys = data.keys() if isinstance(data, dict) else ()
    if is_comparison(source) or "samplers" in keys:
        comparison = load_compare_card(source, overrides)
        return AnyCard("compare", comparison, comparison.cards)
    if is_study(source) or "series" in keys:
        study = load_study_card(source, overrides)
        return AnyCard("study", study, {name: run.card for name, run in study.runs.items()})
    card = load_card(source, overrides)
    return AnyCard("run", card, {"run": card})
