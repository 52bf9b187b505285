"""The measurements behind the pages of docs/: `python -m experiments.NAME` from the root of the project.

`results/` keeps what they measured, and `python -m experiments.fill` writes it into the pages. `benchmarks/` measures
speed beside other libraries.
"""
