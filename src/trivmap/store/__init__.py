"""The run directory and every byte that is written into it."""
