"""Machine-learned trivializing maps for lattice field theory.

The parts live in `actions`, `bijections`, `bases`, `objectives`, `training`, `samplers`, `simulation` and
`observables`; `load` opens what the command line has made.
"""

import os
from typing import TYPE_CHECKING

from trivmap.errors import InputError as InputError
from trivmap.flows import Flow as Flow
from trivmap.lattice import Lattice as Lattice

if TYPE_CHECKING:
    from trivmap.runs.loading import Run


def load(path: str | os.PathLike[str], *, trust: bool = False) -> "Run":
    """The run in a directory: `.flow`, `.action`, `.results`, `.samples`, `.summary`, see `runs.loading.Run`.

    Raises `InputError` where there is no run. Its flow and action may be code that its card names, `my_module:MyClass`,
    and its files may have been altered after they were written: with `trust` both are used, without it they are
    refused and nothing is imported. A float64 model needs JAX's float64 switched on.
    """
    # Run cards and storage take longer to import than the numerics.
    from trivmap.runs.loading import load as load_run

    return load_run(path, trust=trust)
