"""Reference values: simulations that are kept with the package, and the free field in closed form."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from trivmap.actions import NOTATIONS, FreeScalar, Phi4, convert
from trivmap.errors import InputError
from trivmap.estimate import Estimate
from trivmap.lattice import Lattice
from trivmap.observables.catalog import CATALOG

# Two couplings are the same point if the observables move by less than a tenth of the reference's own errors.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Reference:
    """The source of the values, and the values by name; an error of 0 marks an exact value."""

    source: str
    observables: Mapping[str, Estimate]


def find_reference(action: Mapping[str, Any], lattice: Sequence[int]) -> Reference | None:
    """The reference for an action as written in a run card ({kind, notation, couplings}), or None.

    Couplings are compared after conversion to the notation of the reference, and its values are converted back to the
    notation of the action (phi = s phi', arXiv:1506.08587 and others). Free fields have every value in closed form.
    """
    coefficients = _coefficients(action, len(lattice))
    if coefficients is None:
        return None
    if coefficients[2] == 0:
        return _free_field(coefficients[0], coefficients[1], lattice)
    return _simulated(action, lattice)


def _couplings(action: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in action.items() if name not in ("kind", "notation")}


def _coefficients(action: Mapping[str, Any], dimension: int) -> tuple[float, float, float] | None:
    if action.get("kind") == "free":
        return FreeScalar(dimension=dimension, **_couplings(action)).coefficients
    if action.get("kind") == "phi4" and action.get("notation") in NOTATIONS:
        return Phi4.from_couplings(action["notation"], dimension, **_couplings(action)).coefficients
    return None


def _simulated(action: Mapping[str, Any], lattice: Sequence[int]) -> Reference | None:
    table = json.loads(resources.files("trivmap.reports").joinpath("reference/phi4_2d.json").read_text())
    for point in table["points"]:
        if list(point["lattice"]) != list(lattice):
            continue
        names = NOTATIONS[point["notation"]].couplings
        try:
            converted, scale = convert(action["notation"], point["notation"], _couplings(action), len(lattice))
        except InputError:
            continue
        if all(math.isclose(converted[name], point[name], rel_tol=_TOLERANCE) for name in names):
            # An observable of n-th order in the field scales with the n-th power of the scale between the notations.
            factors = {name: scale ** CATALOG[name].power for name in point["observables"]}
            return Reference(
                table["about"],
                {
                    name: Estimate(entry["value"] * factors[name], entry["error"] * factors[name])
                    for name, entry in point["observables"].items()
                },
            )
    return None


def _free_field(c1: float, c2: float, lattice: Sequence[int]) -> Reference:
    """Gaussian moments with the propagator G(k) = 1 / (-c1 khat^2 + 2 c2 + 2 d c1)."""
    shape = Lattice(lattice)
    volume, dimension = shape.volume, shape.dimension
    spectrum = 1 / (-c1 * shape.momentum_squared + 2 * c2 + 2 * dimension * c1)
    zero = float(spectrum.flat[0])
    phi2 = float(spectrum.mean())
    neighbor = float(np.mean(spectrum * (1 - shape.momentum_squared / (2 * dimension))))
    values = {
        "susceptibility": zero,
        "connected_susceptibility": zero * (1 - 2 / math.pi),
        "abs_magnetization": math.sqrt(2 * zero / (math.pi * volume)),
        "phi2": phi2,
        "phi4": 3 * phi2**2,
        "ising_energy": neighbor,
        "binder": 0.0,
        "action_density": 0.5,
        "schwinger_dyson": 1.0,
        "log_z": 0.5 * float(np.sum(np.log(2 * math.pi * spectrum))),
    }
    if c1 < 0:
        # The correlator of walls is exactly A cosh(m (t - L/2)) with 2 sinh(m/2) = 1/xi, xi of the low momenta.
        values["correlation_length"] = math.sqrt(-c1 * zero)
        pole_mass = 2 * math.asinh(0.5 / values["correlation_length"])
        values["correlation_length_arccosh"] = values["correlation_length_cosh_fit"] = 1 / pole_mass
    return Reference("free field, closed form", {name: Estimate(value, 0.0) for name, value in values.items()})
