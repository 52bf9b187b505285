"""The measured content of a run directory, read and checked."""

from types import NoneType

from trivmap.errors import InputError
from trivmap.observables import FlowStages, Results
from trivmap.store.directory import RunDirectory
from trivmap.store.plain import is_file
from trivmap.store.sealed import MAYBE, Shape, read_json, read_sealed_text

_HISTOGRAM: Shape = {"edges": [MAYBE], "density": [MAYBE], "error": [MAYBE]}
_STAGE: Shape = {
    "name": str,
    "two_point": [MAYBE],
    "two_point_error": [MAYBE],
    "correlation_length": MAYBE,
    "correlation_length_error": MAYBE,
    "field": _HISTOGRAM,
    "magnetization": _HISTOGRAM,
}
_OF_STAGES: Shape = {"lattice": [int], "proposals": int, "stages": [_STAGE]}
_INFO: Shape = {"ensemble?": str, "configurations?": int, "moves?": int, "fits?": ({"*": (dict, NoneType)}, NoneType)}
_OF_RESULTS: Shape = {"description": {"description": {"info": _INFO, "chain": {"untrusted": {"*": str}}}}}


def read_results(directory: RunDirectory) -> Results:
    """Observables with errors, from observables.json; raises `InputError` if it is missing or damaged."""
    path, remedy = directory.observables_path, f"run trivmap measure {directory.root}"
    if not is_file(path):
        raise InputError(f"{path}: nothing has been measured yet; {remedy}")
    return Results.from_text(read_sealed_text(path, remedy, shape=_OF_RESULTS), str(path))


def read_stages(directory: RunDirectory) -> FlowStages:
    """Summaries of the field after each stage, from stages.json; raises `InputError` if that is not possible."""
    path, remedy = directory.stages_path, f"run trivmap measure {directory.root}"
    content = read_json(path, remedy, shape=_OF_STAGES)
    try:
        if content["lattice"] != list(directory.card().lattice):
            raise ValueError("of another lattice")
        return FlowStages.from_dict(content)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: is damaged; {remedy}") from error
