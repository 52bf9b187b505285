"""The command line of a benchmark."""

import argparse


def benchmark(name: str, documentation: str | None) -> argparse.ArgumentParser:
    """The parser of `python -m experiments.benchmarks NAME`; the first line of the documentation describes it."""
    description = (documentation or "").splitlines()[0]
    return argparse.ArgumentParser(description=description, prog=f"python -m experiments.benchmarks {name}")
