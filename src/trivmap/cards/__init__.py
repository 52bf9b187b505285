"""Run cards: the schema, its defaults, the presets, and the objects that a card stands for."""

from trivmap.extras import require

require("runs", "run cards")
