"""Machine-learned trivializing maps for lattice field theory.

The parts live in the subpackages, such as `actions`, `bijections`, `bases`, `objectives`, `training`, `samplers`,
`simulation` and `observables`, which are imported when they are asked for. The names in the `__init__` of a subpackage
are public; the modules behind it may change. `recommended` makes a flow, `fit` trains it, `draw` samples with it, and
`analyze` makes observables with errors; `run` executes a run card, and `load` opens the directory of a run.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

from trivmap.errors import InputError as InputError

if TYPE_CHECKING:
    from trivmap.flows import Flow as Flow
    from trivmap.lattice import Lattice as Lattice
    from trivmap.loading import Run
    from trivmap.observables import analyze as analyze
    from trivmap.running import run as run
    from trivmap.simulation import draw as draw
    from trivmap.training import fit as fit
    from trivmap.training import recommended as recommended

    __version__: str

_FLAT = {
    **{"Lattice": "lattice", "Flow": "flows", "fit": "training", "draw": "simulation", "analyze": "observables"},
    **{"recommended": "training", "run": "running"},
}
_PACKAGES = ("actions", "bases", "bijections", "diagnostics", "networks", "objectives", "observables", "optimizers")
_PACKAGES += ("samplers", "simulation", "spaces", "training")
_OF_EXTRAS = ("cards", "runs", "studies", "reports")
# `from trivmap import *` must work without the extras, so only names of the core are listed.
__all__ = ["InputError", "__version__", "load", *sorted(_FLAT.keys() - {"run"}), *_PACKAGES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Subpackages and functions that are slow to import, imported on first use."""
    if name in (*_PACKAGES, *_OF_EXTRAS):
        return importlib.import_module(f"trivmap.{name}")
    if name in _FLAT:
        return getattr(importlib.import_module(f"trivmap.{_FLAT[name]}"), name)
    if name == "__version__":
        from importlib import metadata

        try:
            return metadata.version("trivmap")
        except metadata.PackageNotFoundError:
            return "unknown"
    raise AttributeError(f"module 'trivmap' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_FLAT, *_OF_EXTRAS})


def load(path: str | os.PathLike[str], *, trust: bool = False) -> "Run":
    """The run in a directory: `.flow`, `.action`, `.results`, `.samples`, `.summary`, see `loading.Run`.

    Raises `InputError` if there is no run. Its flow and action may be code that its card names, `my_module:MyClass`,
    and its files may have been altered after they were written. With `trust` such code and files are used; without it
    they are refused and nothing is imported. A float64 model needs JAX's float64 switched on.
    """
    # Run cards and storage take longer to import than the numerics.
    from trivmap.loading import load as load_run

    return load_run(path, trust=trust)
