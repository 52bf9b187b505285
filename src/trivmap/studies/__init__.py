"""Studies: what takes many simulations, such as comparisons and the tuning of couplings."""
