"""Figures: each a function of plain arrays that returns a matplotlib `Figure`; none of them reads a file."""
