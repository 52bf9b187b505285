"""Reweighting of a run to other couplings: averages there, and the derivatives of log Z."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from trivmap.actions import AbstractAction
from trivmap.actions.action import scalar_coefficients
from trivmap.diagnostics.integration_error import Level
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.observables import CATALOG, ArrayHistory, Results, analyze
from trivmap.observables.integration_shift import pairs
from trivmap.samplers.independence import accept
from trivmap.store.samples import SampleReader

TERMS: tuple[str, ...] = ("ising_energy", "phi2", "phi4")
"""The observables that c1, c2 and c4 of the action multiply, per link or site."""


def factors(lattice: Lattice, c: tuple[float, float, float]) -> dict[str, float]:
    """The factor of each of `TERMS` in S = c1 d V ising_energy + c2 V phi2 + c4 V phi4."""
    links = lattice.dimension * lattice.volume
    return dict(zip(TERMS, (c[0] * links, c[1] * lattice.volume, c[2] * lattice.volume), strict=True))


def difference(action: AbstractAction, other: AbstractAction, lattice: Lattice) -> dict[str, float]:
    """The factors of `TERMS` in the difference of two actions, the other one minus the first.

    Raises `InputError` for an action without coefficients.
    """
    found = [scalar_coefficients(each) for each in (action, other)]
    if found[0] is None or found[1] is None:
        raise InputError("action: has no coefficients (c1, c2, c4), which the weights at other couplings need")
    return factors(lattice, tuple(b - a for a, b in zip(found[0], found[1], strict=True)))  # type: ignore[arg-type]


def reweight(
    reader: SampleReader,
    levels: list[Level],
    action: AbstractAction,
    other: AbstractAction,
    lattice: Lattice,
    *,
    bins: int | None = None,
) -> Results:
    """The observables at the couplings of another action, from the proposals that were drawn for the first.

    log w' = log w - (S' - S), exactly: the proposals stay those of the map. Observables of one's own are left out, as
    they may contain the action. The Metropolis chain is run again with these weights, so that every check of a run
    applies, above all the checks of the tail of the weights.

    Args:
        reader: the samples of a run by proposals of a map.
        levels: the measurement of the integration error, which is also corrected at the new couplings.
        action: the action that the samples were drawn for.
        other: the action at the wanted couplings.
        lattice: the lattice.
        bins: bins in all chains together (None: about 1000).

    Raises:
        InputError: for an action without coefficients.
    """
    change = difference(action, other, lattice)
    measured = _there({name: reader[name] for name in reader.names if name in CATALOG}, change, lattice)
    log_weight = _moved(reader["log_weight"], measured, change)
    # A session may use single precision, in which a large log-weight would lose its significant digits.
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), reader.chains)
        start = jnp.asarray(-np.inf, log_weight.dtype)
        accepted = [
            np.asarray(accept(start, chain, jnp.log(jax.random.uniform(key, chain.shape, chain.dtype)))[1])
            for key, chain in zip(keys, jnp.asarray(log_weight), strict=True)
        ]
    there = [
        Level(each.steps, _moved(each.log_weight, each.observables, change), _there(each.observables, change, lattice))
        for each in levels
    ]
    history = ArrayHistory(
        measured,
        lattice=lattice.shape,
        accepted=np.stack(accepted),
        log_weight=log_weight,
        warmup=reader.warmup,
        symmetries=other.symmetries,
    )
    return analyze(history, bins=bins, integration=pairs(there))


def _there(measured: Mapping[str, np.ndarray], change: Mapping[str, float], lattice: Lattice) -> dict[str, np.ndarray]:
    """The measurements. Two contain the action: S / V, and phi dS/dphi, where a term of power n counts n times."""
    found, powers = dict(measured), dict(zip(TERMS, (2, 2, 4), strict=True))
    terms = {name: factor / lattice.volume * measured[name] for name, factor in change.items()}
    found["action_density"] = measured["action_density"] + sum(terms.values())
    found["schwinger_dyson"] = measured["schwinger_dyson"] + sum(powers[name] * term for name, term in terms.items())
    return found


def _moved(log_weight: np.ndarray, measured: Mapping[str, np.ndarray], change: Mapping[str, float]) -> np.ndarray:
    return log_weight - sum(factor * np.asarray(measured[name], np.float64) for name, factor in change.items())


def derivative(results: Results, change: Mapping[str, float]) -> Any:
    """d log Z / d lambda = -<dS/d lambda>, an object with its error; `change` are the factors of dS/d lambda."""
    for name in TERMS:
        if name not in results:
            raise InputError(f"derivative: {name} is withheld: {results.untrusted.get(name, 'it was not measured')}")
    found: Any = -sum(factor * results[name] for name, factor in change.items())
    found.gamma_method()
    return found
