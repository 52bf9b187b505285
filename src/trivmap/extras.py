"""The packages that parts of trivmap need beside its core, and the sentence if one is missing."""

import functools
import importlib.util
import sys
from collections.abc import Mapping

from trivmap.errors import InputError

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "runs": ("click", "h5py", "numba", "orbax", "psutil", "pydantic", "pyerrors", "rich", "xarray", "yaml"),
    "studies": ("dask", "distributed"),
    "reports": ("jinja2", "matplotlib"),
    "programs": ("flatbuffers",),
    "tensorboard": ("tensorboardX",),
}
"""The modules that each extra of the package installs: `pip install trivmap[runs]`, or `[all]` for all of them."""


PACKAGES: Mapping[str, str] = {"orbax": "orbax-checkpoint", "tensorboardX": "tensorboardx", "yaml": "pyyaml"}
"""The names under which modules are installed, if they differ."""


class MissingPackage(InputError, ImportError):
    """A package that is not installed."""


def missing(extra: str, what: str, *modules: str) -> str | None:
    """A sentence about the first package of an extra that is not installed; None if all are.

    Args:
        extra: the name of the extra.
        what: the feature that needs it.
        modules: the modules of the extra that it needs (none: all of them).
    """
    for module in modules or EXTRAS[extra]:
        if not _installed(module):
            package = PACKAGES.get(module, module)
            return f"{what}: needs the package {package}, which is not installed; install trivmap[{extra}]"
    return None


def require(extra: str, what: str, *modules: str) -> None:
    """Raise `MissingPackage` if a package of an extra is not installed; the arguments are those of `missing`."""
    if reason := missing(extra, what, *modules):
        raise MissingPackage(reason)


@functools.cache
def has_pyerrors() -> bool:
    """True if pyerrors is installed; its objects then hold the errors."""
    return _installed("pyerrors")


def _installed(module: str) -> bool:
    if module in sys.modules:
        return sys.modules[module] is not None
    return importlib.util.find_spec(module) is not None
