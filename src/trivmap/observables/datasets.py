"""Results and chains as xarray's objects, which ArviZ and plotting libraries take."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from trivmap.extras import require
from trivmap.lattice import Lattice
from trivmap.observables.catalog import CATALOG
from trivmap.observables.estimates import Estimates
from trivmap.observables.history import History, chain_series

_QUANTITIES = ["value", "error", "tau_int", "tau_int_error"]


def results_dataset(
    sources: Mapping[str, Estimates | None], info: Mapping[str, Any], attributes: Mapping[str, Any]
) -> Any:
    """An `xarray.Dataset` of results, see `Results.to_xarray`.

    Args:
        sources: estimates by name, those of the chain first under "chain".
        info: the facts of the analysis.
        attributes: attributes of the dataset besides.
    """
    require("runs", "to_xarray", "xarray")
    import xarray

    nothing, own = Estimates({}, {}, {}), info.get("own", {})
    chain = sources["chain"] or nothing
    names = list(chain) + [name for name in chain.untrusted if "[" not in name]
    variables = {}
    for name in names:
        table = [
            [each.value(name), each.error(name), each.tau_int.get(name, np.nan), each.tau_int_error(name)]
            for each in (estimates or nothing for estimates in sources.values())
        ]
        shape = np.broadcast_shapes(*(np.shape(entry) for row in table for entry in row))
        values = np.array([[np.broadcast_to(entry, shape) for entry in row] for row in table])
        axes = _axes(name, len(shape), tuple(own.get(name, {}).get("axes", ())))
        variables[name] = (("source", "quantity", *axes), values, _described(name, own))
    dataset = xarray.Dataset(variables, {"source": list(sources), "quantity": _QUANTITIES})
    if "t" in dataset.sizes:
        dataset = dataset.assign_coords(t=np.arange(dataset.sizes["t"]))
    if "orbit" in dataset.sizes and info["lattice"] is not None:
        displacement = Lattice(info["lattice"]).orbit_representatives
        distance = np.sqrt(np.sum(displacement**2, axis=1))
        dataset = dataset.assign_coords(displacement=(("orbit", "axis"), displacement), distance=("orbit", distance))
    facts = {name: info[name] for name in ("ensemble", "lattice", "chains", "configurations", "bins")}
    reasons = {"untrusted": chain.untrusted}
    return dataset.assign_attrs(plain({**facts, "bin_length": info["bin_length"], **reasons, **attributes}))


def chain_tree(history: History, attributes: Mapping[str, Any] | None = None) -> Any:
    """The chains of a history as an `xarray.DataTree` with the groups `posterior` and `sample_stats`.

    Every measurement has the dimensions chain and draw, the steps after the warm-up. `sample_stats` has `accepted` and
    `log_weight` where the history is one of proposals. ArviZ reads it: `arviz.InferenceData.from_datatree(tree)`.

    Args:
        history: the chains; all of them are held in memory.
        attributes: attributes of the tree; what is no text or number becomes JSON.
    """
    require("runs", "a tree of chains", "xarray")
    import xarray

    own = {each.name: {"symbol": each.symbol, "axes": each.axes} for each in history.attrs.get("observables", ())}
    posterior = {}
    for name in history.names:
        series = chain_series(history, name)
        axes = _axes(name, series.ndim - 2, tuple(own.get(name, {}).get("axes", ())))
        posterior[name] = (("chain", "draw", *axes), series, _described(name, own))
    steps = {"chain": np.arange(history.chains), "draw": np.arange(history.warmup, history.n)}
    groups = {"/": xarray.Dataset(attrs=plain(attributes or {})), "/posterior": xarray.Dataset(posterior, steps)}
    if history.attrs.get("history") == "proposals":
        read = {
            name: np.stack([history.read(name, chain, history.warmup, history.n) for chain in range(history.chains)])
            for name in ("accepted", "log_weight")
        }
        noted = {"accepted": "whether the proposal was accepted", "log_weight": "log w of the proposal"}
        stats = {name: (("chain", "draw"), values, {"long_name": noted[name]}) for name, values in read.items()}
        groups["/sample_stats"] = xarray.Dataset(stats, steps)
    return xarray.DataTree.from_dict(groups)


def plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes that netCDF and HDF5 can hold: numbers and texts as they are, everything else as JSON."""
    return {
        name: value if isinstance(value, str | int | float) and not isinstance(value, bool) else json.dumps(value)
        for name, value in attributes.items()
        if value is not None
    }


def _axes(name: str, number: int, own: tuple[str, ...]) -> tuple[str, ...]:
    """The names of an observable's own dimensions."""
    axes = CATALOG[name].axes if name in CATALOG else tuple(f"{name}_{axis}" for axis in own)
    return (axes or tuple(f"{name}_{axis}" for axis in range(number)))[:number]


def _described(name: str, own: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The definition of an observable, and that everything is in lattice units."""
    symbol = CATALOG[name].symbol if name in CATALOG else own.get(name, {}).get("symbol", "")
    return {"long_name": symbol or name, "units": "lattice units"}
