"""Names in cards from before the first release: how they are called now, and where they live on."""

NOW = {"spectrum": "learnable", "start": "mass_squared", "optimiser": "optimizer", "neighbours": "neighbors"}
"""Keys, and what they are called now."""

IN_STREAMS = {"neighbors": "neighbours", "trivialized-hmc": "trivialised-hmc"}
"""The spelling under which names entered the random streams: a name that is respelt leaves the numbers alone."""
