"""Run cards: the schema, its defaults, the presets, and the objects that a card stands for."""
