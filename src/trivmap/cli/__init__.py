"""The command line."""

from trivmap.cli.main import main as main
