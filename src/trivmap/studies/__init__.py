"""Studies: tasks with many simulations, such as comparisons and the tuning of couplings."""
