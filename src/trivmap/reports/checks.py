"""The checks that a reader should see first: each states in one line whether the numbers can be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trivmap.diagnostics.pulls import Agreement
from trivmap.estimate import Estimate
from trivmap.observables.catalog import CATALOG
from trivmap.reports.formats import count, parenthesis
from trivmap.reports.tables import ResultRow, in_errors
from trivmap.reports.trust import reason_against

_SUSPICIOUS, _WRONG = 3.0, 4.0
# The probabilities of 3 and of 4 standard deviations.
_UNLIKELY, _IMPOSSIBLE = 2.7e-3, 6.3e-5


@dataclass(frozen=True)
class Tile:
    """A headline number: `state` is "good", "warn", "bad" or "" for a number that is not a check."""

    name: str
    value: str
    note: str = ""
    state: str = ""


def tiles(
    summary: Mapping[str, Any], rows: Sequence[ResultRow], agreement: Mapping[str, Agreement] | None = None
) -> list[Tile]:
    """The exact identities, the two comparisons, and the figures of merit, as far as the run has them."""
    together = agreement or {}
    found = [
        *(_identity(name, exact, rows) for name, exact in CATALOG.identities.items()),
        _agreement(summary),
        _worst("chain − reweighted, worst", {row.name: row.difference_pull for row in rows}),
        _together("chain − reweighted, all", together.get("chain − reweighted")),
        _worst("chain − reference, worst", {row.name: row.pull for row in rows}),
        _together("chain − reference, all", together.get("chain − reference")),
        _integration(summary),
        _integration_shift(summary),
        _probe(summary),
        _source(summary),
        *_sampling(summary),
        _estimate("log Z", "log_z", summary.get("log_z"), summary),
    ]
    return [tile for tile in found if tile]


def _identity(observable: str, exact: float, rows: Sequence[ResultRow]) -> Tile | None:
    """An observable that has a known value in every correct ensemble."""
    row = next((row for row in rows if row.name == observable), None)
    if row is None:
        return None
    name = CATALOG[observable].short
    if row.estimate is None:
        return Tile(name, "not trusted", str(row.reason), "bad")
    pull = in_errors(Estimate(row.estimate.value - exact, row.estimate.error))
    if pull is None:
        return Tile(name, parenthesis(*row.estimate), "has no error to compare with", "warn")
    verdict, state = _verdict(pull)
    return Tile(name, parenthesis(*row.estimate), f"{abs(pull):.1f} σ from {exact:g}: {verdict}", state)


def _agreement(summary: Mapping[str, Any]) -> Tile | None:
    """The agreement of Markov chains with each other."""
    sampling = summary.get("sampling") or {}
    if "r_hat" not in sampling:
        return None
    value = "unknown" if sampling["r_hat"] is None else f"{sampling['r_hat']:.3f}"
    reason = (summary.get("untrusted") or {}).get("chains")
    return Tile("R-hat of the order parameter", value, reason or "the chains agree", "bad" if reason else "good")


def _worst(name: str, pulls: Mapping[str, float | None]) -> Tile | None:
    known = {key: pull for key, pull in pulls.items() if pull is not None and key not in CATALOG.identities}
    if not known:
        return None
    worst = max(known, key=lambda key: abs(known[key]))
    verdict, state = _verdict(known[worst])
    return Tile(name, f"{abs(known[worst]):.1f} σ", f"{worst}, of {len(known)}: {verdict}", state)


def _together(name: str, found: Agreement | None) -> Tile | None:
    """All pulls of a comparison as one chi^2, with their correlations."""
    if found is None:
        return None
    p = found.p_value
    verdict, state = ("agrees", "good") if p > _UNLIKELY else ("suspicious", "warn")
    verdict, state = ("disagrees", "bad") if p < _IMPOSSIBLE else (verdict, state)
    said = f"p = {p:.2g}" if p >= _IMPOSSIBLE else f"p < {_IMPOSSIBLE:g}"
    note = f"{found.pulls} expected; {said}, correlations included: {verdict}"
    return Tile(name, f"χ² = {found.chi_squared:.3g}", note, state)


def _integration(summary: Mapping[str, Any]) -> Tile | None:
    """The certificate of a continuous map."""
    found = (summary.get("sampling") or {}).get("certificate")
    if not found:
        return None
    value, spread = ("unknown" if found[key] is None else f"{found[key]:.1g}" for key in ("mean", "spread"))
    verdict, state = ("negligible", "good") if found["passed"] else ("too large", "bad")
    note = f"spread {spread}; {found['steps']} steps against {2 * found['steps']}: {verdict}"
    return Tile("integration error of log w", value, note, state)


def _integration_shift(summary: Mapping[str, Any]) -> Tile | None:
    """The shift of the observables under finer integration."""
    observables, moved = summary.get("observables") or {}, {}
    for name, shift in (summary.get("integration_shift") or {}).items():
        if name in observables and observables[name]["error"]:
            moved[name] = abs(shift["value"]) / observables[name]["error"]
    if not moved:
        return None
    worst = max(moved, key=lambda name: moved[name])
    note = f"{worst}, the largest of {len(moved)}; corrected, and its error is included"
    return Tile("shift by integration", f"{moved[worst]:.2g} σ", note)


def _probe(summary: Mapping[str, Any]) -> Tile | None:
    """The probe: do configurations of another sampler have the weights that the map's proposals predict?"""
    sampling = summary.get("sampling") or {}
    if sampling.get("kind") != "flow":
        return None
    found, reason = sampling.get("probe"), (summary.get("untrusted") or {}).get("probe")
    if found is None:
        return Tile("probe by another sampler", "off", "a part that the map misses would go unnoticed", "warn")
    if not found["sampler"]:
        return Tile("probe by another sampler", "impossible", found["reason"], "warn")
    note = reason or f"{count(found['configurations'])} configurations of a {found['sampler']} run: the map misses none"
    return Tile("probe by another sampler", "missed" if reason else "covered", note, "bad" if reason else "good")


def _source(summary: Mapping[str, Any]) -> Tile | None:
    """A tile if reweighted averages replace those of the chain."""
    reason = summary.get("chain_withheld")
    return Tile("values", "reweighted", f"not those of the chain: {reason}", "warn") if reason else None


def _verdict(pull: float) -> tuple[str, str]:
    if abs(pull) < _SUSPICIOUS:
        return "agrees", "good"
    return ("suspicious", "warn") if abs(pull) < _WRONG else ("disagrees", "bad")


def _sampling(summary: Mapping[str, Any]) -> list[Tile | None]:
    sampling = summary.get("sampling") or {}
    proposals = sampling.get("proposals")
    note = f"{count(proposals)} proposals" if isinstance(proposals, int) else ""
    tau_int = sampling.get("tau_int")
    return [
        _estimate("acceptance", "acceptance", sampling.get("acceptance"), summary, note),
        _estimate("ESS per proposal", "ess", sampling.get("ess"), summary),
        _estimate("τ_int", "tau_int", tau_int, summary, "1/2 is independent"),
    ]


def _estimate(name: str, key: str, entry: Any, summary: Mapping[str, Any], note: str = "") -> Tile | None:
    if entry is None:
        return None
    reason = reason_against(key, entry, summary)
    if reason:
        return Tile(name, "not trusted", reason, "bad")
    if isinstance(entry, Mapping):
        return Tile(name, parenthesis(float(entry["value"]), float(entry["error"])), note)
    return Tile(name, f"{entry:.4g}", note)
