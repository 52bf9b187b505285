"""Studies: what takes many runs, comparisons and critical slowing down."""
