"""Runs: the run card, the run directory and everything that is kept in it."""
