"""Finds the line xi = L/4 again: `python -m experiments.tune [L ...]` writes tune.json in results/.

What `trivmap tune L --lam 0.5 --ratio 4` gives for every L of the page presets, with the command's own settings.
"""

import json
import subprocess
import sys

from experiments.keeping import kept, store

LINE = {6: 0.537, 8: 0.576, 10: 0.601, 12: 0.616, 14: 0.626, 16: 0.634, 18: 0.641, 20: 0.645, 32: 0.6614, 64: 0.6743}
"""beta at lam = 0.5 by L (arXiv:2105.12481, continued)."""
COMMAND = [sys.executable, "-m", "trivmap", "tune", "--lam", "0.5", "--ratio", "4", "--json"]


def main() -> None:
    """Tune the lattices named, or all, and keep what is there of the others."""
    found = kept("tune") or {}
    for extent in map(int, sys.argv[1:] or LINE):
        answer = json.loads(subprocess.run([*COMMAND, str(extent)], check=True, capture_output=True, text=True).stdout)
        tuned = {key: answer[key] for key in ("beta", "correlation_length", "cycles")}
        found[str(extent)] = {"line": LINE[extent], **tuned}
        store("tune", found)


if __name__ == "__main__":
    main()
