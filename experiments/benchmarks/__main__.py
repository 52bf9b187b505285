"""The benchmarks: `python -m experiments.benchmarks [NAME] [OPTIONS]`, in the environment that `make bench` sets up.

Each prints a table and keeps its figures in experiments/results/benchmarks/NAME.json; `--quick` only shows that it
works, and keeps none.
"""

import importlib
import sys

COMMANDS = {
    "training": "experiments.benchmarks.training",
    "hmc": "experiments.benchmarks.hmc",
    "cluster": "experiments.benchmarks.cluster",
    "sampling": "experiments.benchmarks.sampling",
    "kernels": "experiments.benchmarks.kernels",
    "solvers": "experiments.benchmarks.solvers",
}


def main(arguments: list[str]) -> None:
    """Run the benchmark of that name, `training` where none is given."""
    name, rest = (arguments[0], arguments[1:]) if arguments and arguments[0] in COMMANDS else ("training", arguments)
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        sys.exit(f"{arguments[0]!r} is no benchmark; choose one of {', '.join(COMMANDS)}")
    importlib.import_module(COMMANDS[name]).main(rest)


if __name__ == "__main__":
    main(sys.argv[1:])
