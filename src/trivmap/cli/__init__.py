"""The command line."""

from trivmap.cli.cite import cite as cite
from trivmap.cli.export import export as export
from trivmap.cli.main import main as main
from trivmap.cli.study_command import study as study
from trivmap.cli.tune import tune as tune
