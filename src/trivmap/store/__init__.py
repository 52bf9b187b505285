"""The run directory, and the reading and writing of all its files."""

from trivmap.extras import require

require("runs", "run directories")
