"""Scaling studies: a grid of runs, and the growth of training costs with the lattice."""
