"""Finds the line xi = L/4 anew: `python docs/results/tune.py [L ...]` writes tune.json beside this file.

What `trivmap tune L --lam 0.5 --ratio 4` gives for every L of docs/presets.md, with the command's own settings.
"""

import json
import subprocess
import sys
from pathlib import Path

TARGET = Path(__file__).with_name("tune.json")
LINE = {6: 0.537, 8: 0.576, 10: 0.601, 12: 0.616, 14: 0.626, 16: 0.634, 18: 0.641, 20: 0.645, 32: 0.6614, 64: 0.6743}
"""beta at lam = 0.5 by L (arXiv:2105.12481, continued)."""
COMMAND = [sys.executable, "-m", "trivmap", "tune", "--lam", "0.5", "--ratio", "4", "--json"]


def main() -> None:
    """Tune the lattices named, or all, and keep what is there of the others."""
    found = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
    for extent in map(int, sys.argv[1:] or LINE):
        answer = json.loads(subprocess.run([*COMMAND, str(extent)], check=True, capture_output=True, text=True).stdout)
        kept = {key: answer[key] for key in ("beta", "correlation_length", "cycles")}
        found[str(extent)] = {"line": LINE[extent], **kept}
        TARGET.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
