"""The command that compares samplers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from trivmap.cli.terminal import say

if TYPE_CHECKING:
    from trivmap.studies.comparison import ComparisonDirectory


def run_comparison(
    card: str | None,
    out: Path | None,
    overrides: tuple[str, ...],
    resume: Path | None,
    again: bool,
    force: bool,
    as_json: bool,
) -> None:
    """The work of `trivmap compare`."""
    from trivmap.cards.own import require_trust
    from trivmap.cli.opening import name_of, require_one
    from trivmap.cli.process import making, new_run_path, prepare, shown_progress
    from trivmap.cli.room import require_room
    from trivmap.extras import require

    require("reports", "trivmap compare")
    from trivmap.reports import write_report
    from trivmap.reports.comparison import write_comparison
    from trivmap.runs.plan import Plan
    from trivmap.runs.progress import process_age
    from trivmap.studies.compare_card import load_compare_card
    from trivmap.studies.comparison import ComparisonDirectory, compare

    continues = "as comparison.yaml says; --out and --set are for a new comparison"
    require_one(card, resume, out, overrides, "compare", continues)
    display, elapsed = shown_progress(), process_age()
    if resume is not None:
        directory = ComparisonDirectory.open(resume)
        require_trust(resume, *directory.card().cards.values())
        prepare(next(iter(directory.card().cards.values())))
    else:
        assert card is not None
        loaded = load_compare_card(card, overrides)
        prepare(next(iter(loaded.cards.values())))
        chosen = out if out is not None else new_run_path(name_of(loaded, card))
        with making(chosen, "continue with trivmap compare"):
            require_room(map(Plan, loaded.cards.values()), chosen, force=force, note=display.note)
            directory = ComparisonDirectory.create(chosen, loaded)
        for note in loaded.notes:
            display.note(note)
    display.note(f"comparison: {directory.root}")
    compare(directory, display, report=lambda run: write_report(run.root, trust=True), elapsed=elapsed, again=again)
    write_comparison(directory)
    print_comparison(directory, as_json)


def print_comparison(directory: "ComparisonDirectory", as_json: bool) -> None:
    """The outcome of a comparison on stdout."""
    from trivmap.cli.display import console as make_console
    from trivmap.reports.comparison import conditions, terminal_tables, untrusted, worst_pulls

    result = directory.result()
    if as_json:
        say(json.dumps({"comparison": str(directory.root), **result}, indent=2))
        return
    console = make_console()
    console.print(f"{directory.root}  {result['name'] or ''}".rstrip(), markup=False, soft_wrap=True)
    for table in terminal_tables(result):
        console.print(table)
    for line in untrusted(result):
        console.print(f"not trusted: {line}", markup=False, soft_wrap=True, style="yellow")
    for line in (worst_pulls(result), conditions(result), f"page: {directory.page_path}"):
        console.print(line, markup=False, soft_wrap=True)
