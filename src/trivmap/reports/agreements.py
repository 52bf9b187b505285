"""Comparisons of all observables at once."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from trivmap.diagnostics.pulls import Agreement, agreement
from trivmap.estimate import Estimate
from trivmap.observables import Results
from trivmap.observables.catalog import CATALOG
from trivmap.observables.correlation import correlation
from trivmap.reports.references import Reference


def agreements(results: Results, reference: Reference | None, without: Collection[str] = ()) -> dict[str, Agreement]:
    """The differences of all scalars from their reweighted values and from the reference, each as one chi^2.

    Identities, which have their own check, and the names in `without` are left out. A reference from a simulation has
    the same correlations between observables as the chain, so the correlations of the chain are those of the pulls.
    """
    known = reference.observables if reference else {}
    compared = {name: (entry, known[name]) for name, entry in results.items() if name in known}
    differences = {name: (entry, Estimate(0.0, 0.0)) for name, entry in results.difference.items()}
    found = {
        "chain − reweighted": _agreement(differences, results, without),
        "chain − reference": _agreement(compared, results, without),
    }
    return {name: each for name, each in found.items() if each is not None}


def _agreement(
    pairs: Mapping[str, tuple[Any, Estimate]], chain: Mapping[str, Any], without: Collection[str]
) -> Agreement | None:
    """chi^2 of objects with errors against known values; None for fewer than two.

    An error that comes from rejections too few to show it has the correlations of the chain, because a rejection
    repeats one configuration for all observables.
    """
    kept = [
        (entry, known, chain[name])
        for name, (entry, known) in pairs.items()
        if name not in {*without, *CATALOG.identities}
        and not isinstance(entry, np.ndarray)
        and np.isfinite(entry.value)
        and entry.dvalue > 0
    ]
    if len(kept) < 2:
        return None
    pulls = [(entry.value - known.value) / np.hypot(entry.dvalue, known.error) for entry, known, _ in kept]
    entries, alike = [entry for entry, _, _ in kept], [each for _, _, each in kept]
    return agreement(np.array(pulls), correlation(entries, alike))
