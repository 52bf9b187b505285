"""The command `trivmap cite`."""

import click

from trivmap.cli.completion import complete_run_or_card
from trivmap.cli.main import command, trust_flag


@command("trivmap cite quickstart")
@click.argument("source", metavar="RUN_OR_CARD", shell_complete=complete_run_or_card)
@trust_flag
def cite(source: str) -> None:
    """Print BibTeX entries for trivmap and for the papers whose methods a run or a card uses, each with its reason.

    RUN_OR_CARD is a run directory, a YAML file, or the name of a preset of any kind (see trivmap presets).
    """
    from trivmap.cli.citing import print_citations

    print_citations(source)
