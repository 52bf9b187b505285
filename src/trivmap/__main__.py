"""`python -m trivmap` is the command `trivmap`."""

from trivmap.cli import main

if __name__ == "__main__":
    main()
