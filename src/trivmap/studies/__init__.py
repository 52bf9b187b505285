"""Studies: what takes many simulations, such as comparisons, critical slowing down and the tuning of couplings."""
