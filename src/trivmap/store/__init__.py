"""The run directory and every byte that is written into it."""

from trivmap.extras import require

require("runs", "run directories")
