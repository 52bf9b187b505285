"""The benchmarks: `python -m benchmarks [NAME] [OPTIONS]`, in the environment that `make bench` sets up.

Each prints a table and keeps its figures in results/NAME.json; `--quick` only looks whether it works, and keeps none.
"""

import importlib
import sys

COMMANDS = {
    "training": "benchmarks.training",
    "hmc": "benchmarks.hmc",
    "cluster": "benchmarks.cluster",
    "sampling": "benchmarks.sampling",
    "kernels": "benchmarks.kernels",
    "solvers": "benchmarks.solvers",
}


def main(arguments: list[str]) -> None:
    """Run the benchmark of that name, `training` where none is given."""
    name, rest = (arguments[0], arguments[1:]) if arguments and arguments[0] in COMMANDS else ("training", arguments)
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        sys.exit(f"{arguments[0]!r} is no benchmark; choose one of {', '.join(COMMANDS)}")
    importlib.import_module(COMMANDS[name]).main(rest)


if __name__ == "__main__":
    main(sys.argv[1:])
