"""The reasons for which a run withholds numbers."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trivmap.observables import Results

OF_WEIGHTS = ("log_z", "acceptance", "ess", "tau_int")
"""Keys of numbers that depend on the weights alone."""
OF_SAMPLES = (*OF_WEIGHTS, "chains", "sector", "probe")
"""Keys of `untrusted` that sampling writes; measuring keeps them."""


def integration_reason(certificate: dict[str, Any]) -> str:
    """The reason to distrust all samples of a continuous map whose certificate failed."""
    shown = {key: "unknown" if certificate[key] is None else f"{certificate[key]:.2g}" for key in ("mean", "spread")}
    return (
        f"the integration error of {certificate['steps']} steps is not negligible (mean {shown['mean']}, spread "
        f"{shown['spread']}); raise sampling.integration_steps in a new run"
    )


def reasons_of_samples(summary: Mapping[str, Any]) -> dict[str, str]:
    """The reasons that sampling recorded for distrusting numbers of the run, by name."""
    return {name: text for name, text in (summary.get("untrusted") or {}).items() if name in OF_SAMPLES}


def judged(results: "Results", summary: dict[str, Any], odd: Collection[str]) -> "Results":
    """The results without those that sampling found untrustworthy; none if integration is not accurate enough."""
    against, certificate = reasons_of_samples(summary), (summary.get("sampling") or {}).get("certificate")
    reason = against.get("chains") or against.get("probe")
    if certificate and not certificate["passed"]:
        reason = integration_reason(certificate)
    if missing := against.get("sector"):
        results = results.without(odd, missing)
    return results.withheld(reason) if reason else results
