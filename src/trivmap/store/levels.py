"""`integration.h5`: configurations of a continuous map from the same noise at several numbers of integration steps."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trivmap.diagnostics.integration_error import Level
from trivmap.errors import InputError
from trivmap.store.files import write_bytes
from trivmap.store.hdf5 import SUM, UNREADABLE, open_hdf5, require_sum, sum_of_content, unreadable
from trivmap.store.plain import is_file


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
        file.attrs[SUM] = sum_of_content(file)
    write_bytes(path, buffer)


def read_levels(path: Path, model: str) -> list[Level]:
    """The levels in ascending steps; none if there is no file, or a file of another map.

    Raises `InputError` if the file is damaged or altered.
    """
    if not is_file(path):
        return []
    remedy = f"delete it and run trivmap sample {path.parent}, which measures it again"
    try:
        with open_hdf5(path) as file:
            require_sum(file, sum_of_content, path, remedy)
            if file.attrs["model"] != model:
                return []
            levels = [_level(int(steps), file[steps]) for steps in sorted(file, key=int)]
    except InputError:
        raise
    except (*UNREADABLE, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise unreadable(path, error) from error
        raise InputError(f"{path}: is damaged; {remedy}") from error
    return levels


def _level(steps: int, group: Any) -> Level:
    log_weight = np.asarray(group["log_weight"][...])
    observables = {name: np.asarray(values[...]) for name, values in group["observables"].items()}
    if log_weight.ndim != 1 or any(values.shape[:1] != log_weight.shape for values in observables.values()):
        raise ValueError(f"{group.name}: not one number or row for each configuration")
    return Level(steps, log_weight, observables)
