"""`integration.h5`: configurations of a continuous map at several numbers of integration steps, the noise the same."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trivmap.diagnostics.integration_error import Level
from trivmap.errors import InputError
from trivmap.store.files import write_bytes
from trivmap.store.plain import is_file
from trivmap.store.sample_parts import open_hdf5, unreadable


def write_levels(path: Path, levels: Sequence[Level], model: str) -> None:
    """Write the levels of the map with the digest `model`: groups STEPS with `log_weight` and `observables/NAME`."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["model"] = model
        for level in levels:
            datasets = {"log_weight": level.log_weight} | {
                f"observables/{name}": values for name, values in level.observables.items()
            }
            for name, values in datasets.items():
                file.create_dataset(f"{level.steps}/{name}", data=values, chunks=True, fletcher32=True)
    write_bytes(path, buffer)


def read_levels(path: Path, model: str) -> list[Level]:
    """The levels in ascending steps; none where there is no file, or one of another map.

    Raises `InputError` where the file is damaged.
    """
    if not is_file(path):
        return []
    try:
        with open_hdf5(path) as file:
            if file.attrs["model"] != model:
                return []
            return [_level(int(steps), file[steps]) for steps in sorted(file, key=int)]
    except OSError as error:
        if error.errno:
            raise unreadable(path, error) from error
        raise _damaged(path) from error
    except (KeyError, ValueError) as error:
        raise _damaged(path) from error


def _level(steps: int, group: Any) -> Level:
    observables = {name: np.asarray(values[...]) for name, values in group["observables"].items()}
    return Level(steps, np.asarray(group["log_weight"][...]), observables)


def _damaged(path: Path) -> InputError:
    return InputError(f"{path}: is damaged; delete it and run trivmap sample {path.parent}, which measures it again")
