"""Studies: what takes many runs."""
