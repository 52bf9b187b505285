"""Scaling studies: a grid of runs, and how the cost of training grows with the lattice."""
