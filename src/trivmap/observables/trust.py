"""Reasons to distrust averages over a history: rules on its chains, on its weights, and on exact identities.

Every function returns one sentence, or None if there is no reason against the averages.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from trivmap.diagnostics.burn_in import BurnIn, burn_in
from trivmap.diagnostics.convergence import disagreement_reason, split_r_hat
from trivmap.diagnostics.tails import FEWEST_JUDGES, pareto_shape, skewness_of_mean, tail_reason
from trivmap.diagnostics.weights import acceptance
from trivmap.observables.binning import Bins
from trivmap.observables.catalog import Catalog
from trivmap.observables.history import History
from trivmap.observables.results import Results

LEAST_MOVES = 50
"""Fewest moves of the chains."""
LEAST_OF_ITS_OWN = 50
"""Fewest independent configurations of a chain average by its own autocorrelation time."""
LEAST_OF_ITS_OWN_CURVED = 1000
"""The same for a nonlinear function of means; it decides only if the function is far slower than most scalars."""
LEAST_INDEPENDENT = 250
"""Fewest independent configurations of a chain average by the median autocorrelation time of the scalars.

An observable's own time fluctuates with its value and its error, so a rule based on it would select among results. The
median does so far less.
"""
LEAST_OF_CURVED = 2000
"""Fewest independent configurations by the median time, or effective samples, for a nonlinear function.

Its error is that of the function's linear part, and value and error fluctuate together: with fewer, the mean of
(value - exact) / error exceeds 0.15 for Binder cumulants and correlation lengths. Measured on a ring of 12 sites by
hybrid Monte Carlo: 0.30, 0.20 and 0.10 for the Binder cumulant at 380, 900 and 2600 independent configurations.
"""
LARGEST_SKEWNESS_OF_CURVED = 0.01
"""Largest skewness of the mean weight for such a function.

Measured on such rings with weights of acceptance 0.26 and 0.51: at 0.08 and 0.03 the Binder cumulant is off by 0.36
errors, and at 0.003 (acceptance 0.95) by less than 0.10.
"""
LEAST_EFFECTIVE_SAMPLES = 100
"""Fewest effective samples of the weights."""
INVALID_SHARE = 1e-4
"""Largest share of log-weights that are NaN or +inf."""
MOST_ERRORS = 5.0
"""Largest violation, in errors, of an exact identity, a symmetry, or the equality of two averages."""
LEAST_SIGN_CHANGES = 20
"""Fewest sign changes of the magnetization that show that a single chain visits both sectors."""
_MOST_WEIGHTS = 2**21
_ROUNDING = 1e-12


class Weights(NamedTuple):
    """The verdict of the log-weights of a history on averages over it.

    `shape`: Pareto shape of their tail. `skewness`: of the mean weight, estimated from proposals that are not measured
    (the warm-up) if there are enough of them, so that the verdict does not depend on the result. `own_skewness`:
    estimated from the measured proposals.
    """

    proposals: int
    shape: float
    skewness: float
    own_skewness: float
    burn_in: BurnIn | None


def judge_weights(history: History) -> Weights:
    """The verdict on all log-weights of a history of proposals, thinned if there are more than two million."""
    stride = max(1, -(-history.chains * history.n // _MOST_WEIGHTS))
    logs = np.stack([history.read("log_weight", c, 0, history.n)[::stride] for c in range(history.chains)])
    # Weights that are NaN or +inf have their own rules.
    logs = np.where(logs < np.inf, logs, -np.inf)
    cut = -(-history.warmup // stride)
    measured, unmeasured = logs[:, cut:], logs[:, :cut]
    count = history.chains * (history.n - history.warmup)
    valid = bool(np.any(np.isfinite(measured))) and logs.size > 1
    own = skewness_of_mean(acceptance(measured).value, count) if valid else float("nan")
    others = skewness_of_mean(acceptance(unmeasured).value, count) if unmeasured.size >= FEWEST_JUDGES else own
    start = burn_in(logs, chains=history.chains, steps=history.n, warmup=history.warmup) if valid else None
    return Weights(count, pareto_shape(logs), others, own, start)


def chains_reason(binned: Bins, weights: Weights | None) -> str | None:
    """A reason to distrust every average over the chains."""
    if binned.unstarted:
        return f"{binned.unstarted} chains had accepted no proposal by the end of their warm-up"
    if binned.invalid_weights > INVALID_SHARE * binned.configurations:
        # Rejecting them samples exp(-S) restricted to configurations whose weight is a number.
        return f"{binned.invalid_weights} of the log-weights are NaN or +inf"
    if binned.moves < LEAST_MOVES:
        return f"the chains moved only {binned.moves} times in {binned.configurations} steps"
    if weights is None:
        # If the weights are known, they decide: the presence of a rare configuration in a chain depends on the result,
        # and refusing such chains would select among results.
        if binned.longest_stand * LEAST_MOVES > binned.configurations:
            return f"a chain stood still for {binned.longest_stand} of all {binned.configurations} steps"
        return None
    reason = tail_reason(weights.shape, weights.skewness, weights.proposals)
    return reason or (weights.burn_in.reason if weights.burn_in else None)


def reweighting_reason(binned: Bins, weights: Weights) -> str | None:
    """A reason to distrust every reweighted average."""
    if binned.invalid_weights:
        return f"{binned.invalid_weights} of the log-weights are NaN or +inf"
    if binned.effective_samples < LEAST_EFFECTIVE_SAMPLES:
        return f"the weights of all proposals amount to only {binned.effective_samples:.0f} effective samples"
    return tail_reason(weights.shape, weights.skewness, weights.proposals)


def curved_reason(weights: Weights | None) -> str | None:
    """A reason to distrust every nonlinear function of averages."""
    if weights is None or weights.skewness < LARGEST_SKEWNESS_OF_CURVED:
        return None
    return (
        f"the weights vary too much for {weights.proposals} proposals and a function of averages (skewness of their "
        f"mean {weights.skewness:.2g}, at most {LARGEST_SKEWNESS_OF_CURVED:g}); draw more, or train the map further"
    )


def agreement_reason(binned: Bins) -> tuple[float, str | None]:
    """The largest R-hat from the halves of all chains, and a reason to distrust the chains, or None.

    It is taken over the scalars, and over the entries of arrays that a symmetry makes zero.
    """
    half, catalog = binned.chain.shape[1] // 2, binned.columns.catalog
    means = np.concatenate([binned.chain[:, :half].mean(axis=1), binned.chain[:, -half:].mean(axis=1)])
    worst, name = 1.0, ""
    for primary, where in binned.columns.slices.items():
        odd = primary in catalog and catalog[primary].zero_under is not None
        if binned.columns.shapes[primary] and not odd:
            continue
        for column in range(where.start, where.stop):
            value = split_r_hat(means[:, column], float(binned.variance[column]), half * binned.length)
            worst, name = (value, primary) if value > worst else (worst, name)
    return worst, disagreement_reason(worst, name)


def identity_reason(estimates: Mapping[str, Any], catalog: Catalog) -> str | None:
    """A reason if the averages violate an exact identity, otherwise None."""
    for name, exact in catalog.identities.items():
        if name in estimates:
            pull = _worst_pull(estimates[name], exact)
            if abs(pull) > MOST_ERRORS:
                return f"{name} is {exact:g} in every correct ensemble, but here {abs(pull):.0f} of its errors off"
    return None


def difference_reason(results: Results) -> str | None:
    """A reason if averages over the chain differ from the reweighted ones, so that one must be wrong."""
    worst, pull = "", 0.0
    for name, difference in results.difference.items():
        if isinstance(difference, np.ndarray):
            continue
        # For equal weights both agree up to rounding, and the error of their difference is of that size too.
        size = abs(results.chain[name].value) + results.chain[name].dvalue
        if abs(difference.value) > _ROUNDING * size and abs(_pull(difference, 0.0)) > abs(pull):
            worst, pull = name, _pull(difference, 0.0)
    if abs(pull) <= MOST_ERRORS:
        return None
    return f"the chain's {worst} is {abs(pull):.0f} errors of the difference from its reweighted average"


def sector_reason(estimates: Mapping[str, Any], symmetries: Collection[str], catalog: Catalog) -> str | None:
    """A reason if the averages violate a symmetry of the action: a sector of configurations is missing."""
    for symmetry in sorted(symmetries):
        for name in catalog.odd_under(symmetry):
            if name in estimates:
                pull = _worst_pull(estimates[name], 0.0)
                if abs(pull) > MOST_ERRORS:
                    return (
                        f"a sector is missing: the action has the symmetry {symmetry}, which makes {name} zero, and it "
                        f"is {abs(pull):.0f} of its errors off"
                    )
    return None


def tunneling_reason(binned: Bins, symmetries: Collection[str]) -> str | None:
    """The reason why chains of a kernel without weights cannot determine odd observables, or None."""
    if binned.sign_changes is None or "z2" not in symmetries or binned.sign_changes >= LEAST_SIGN_CHANGES:
        return None
    means = binned.chain[..., binned.columns.slices["magnetization"].start].mean(axis=1)
    if len(means) > 1 and np.any(means > 0) and np.any(means < 0):
        return None  # The R-hat of these chains decides.
    which = "one chain" if len(means) == 1 else "chains of one sector"
    return (
        f"{which} with {binned.sign_changes} changes of sign cannot show that both sectors of the symmetry z2 are "
        "visited; start chains in both"
    )


def _worst_pull(estimate: Any, exact: float) -> float:
    """The largest pull of a number, or of the entries of an array that have a value."""
    pulls = [_pull(each, exact) for each in np.ravel(estimate) if each is not None]
    return max(pulls, key=abs, default=0.0)


def _pull(observable: Any, exact: float) -> float:
    return (observable.value - exact) / observable.dvalue if observable.dvalue > 0 else 0.0
