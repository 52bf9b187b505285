"""`python -m trivmap` is the command `trivmap`."""

import sys

from trivmap.extras import missing


def main() -> None:
    """Run the command; if a package that it needs is missing, print one sentence and exit with code 2."""
    if reason := missing("runs", "the command"):
        sys.stderr.write(f"trivmap: {reason}\n")
        raise SystemExit(2)
    from trivmap.cli import main as command

    command()


if __name__ == "__main__":
    main()
