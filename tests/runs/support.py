"""What the tests of this floor share: a small card, a disk that is full, a record of what is on disk."""

import contextlib
import hashlib
import resource
from pathlib import Path

CARD = {
    "lattice": [4, 4],
    "action": {"kind": "phi4", "notation": "bosetti2015", "beta": 0.5, "lam": 0.5},
    "model": {
        "base": {"kind": "gaussian"},
        "maps": [{"kind": "affine", "couplings": 2, "network": {"kind": "dense", "hidden": ["0.5V"]}}],
    },
    "training": {"steps": 200, "batch": 64, "optimiser": {"kind": "adam", "learning_rate": 1e-3}},
    "sampling": {"chains": 2, "proposals": 4000},
}


def contents(folder: Path) -> dict[str, str]:
    """Name and hash of every file below a folder, to see that nothing was changed or lost."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@contextlib.contextmanager
def no_file_larger_than(size: int):
    """A disk that takes no more, for this process: writes beyond `size` bytes fail with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
