"""Presets at many proposals beside reference simulations: `python -m experiments.presets [PRESET ...] [--in DIR]`.

More proposals shrink the statistical errors and leave every other error as it is. A run that DIR holds is not repeated.
Writes presets.json in results/.
"""

import tempfile
from pathlib import Path
from typing import Any

from experiments.couplings import command, judged
from experiments.keeping import kept, named_runs, store
from trivmap.cards.card import load_card
from trivmap.reports import find_reference

PROPOSALS = {"phi4-L8": 1_000_000, "phi4-L16": 1_000_000, "phi4-L20": 1_000_000, "phi4-L32": 200_000}


def compared(preset: str, folder: Path) -> dict[str, Any]:
    """Every number of one run that a reference row has, in combined errors from it."""
    summary = command(preset, {"sampling.proposals": PROPOSALS[preset]}, folder / preset)
    card = load_card(preset).to_data()
    if "refused" in summary:
        raise SystemExit(f"{preset}: {summary['refused']}")
    drawn = summary["sampling"]["proposals"]
    assert drawn == PROPOSALS[preset], f"{folder / preset}: holds {drawn} proposals, not {PROPOSALS[preset]}"
    reference = find_reference(card["action"], card["lattice"])
    assert reference is not None, f"{preset}: no reference row has its lattice and couplings"
    known = {name: value._asdict() for name, value in reference.observables.items()}
    return {"proposals": drawn, **judged(summary, known)}


def main() -> None:
    """Run what is named, or everything, and keep what is there of the rest."""
    arguments = named_runs(__doc__, "PRESET").parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    for preset in arguments.named or PROPOSALS:
        content = (kept("presets") or {}) | {preset: compared(preset, folder)}
        store("presets", {key: content[key] for key in PROPOSALS if key in content})


if __name__ == "__main__":
    main()
