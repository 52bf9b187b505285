"""`python -m trivmap` is the command `trivmap`."""

import sys

from trivmap.extras import missing


def main() -> None:
    """The command; where a package that it needs is missing, one sentence and exit code 2."""
    if reason := missing("runs", "the command"):
        sys.stderr.write(f"trivmap: {reason}\n")
        raise SystemExit(2)
    from trivmap.cli import main as command

    command()


if __name__ == "__main__":
    main()
