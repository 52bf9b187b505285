"""The command line."""

from trivmap.cli.cite import cite as cite
from trivmap.cli.export import export as export
from trivmap.cli.main import main as main
from trivmap.cli.measure import forward_ess as forward_ess
from trivmap.cli.measure import measure as measure
from trivmap.cli.notations import convert as convert
from trivmap.cli.study_command import study as study
from trivmap.cli.tune import tune as tune
