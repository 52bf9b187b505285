"""Runs: create, train, sample, measure and load one."""
