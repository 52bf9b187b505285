"""Correlations of errors that come from several ensembles."""

import numpy as np
import pyerrors
import pytest

from trivmap.diagnostics.pulls import agreement
from trivmap.observables.correlation import correlation

COMMON = np.array([1.0, 0.9, -0.5, 0.2])
"""How much of the common noise each observable has in the chain; its own noise has weight 1."""
ELSEWHERE = np.array([0.5, -0.7, 0.8, 1.0])
"""The same in the second ensemble, which has fewer samples and so larger deviations for a smaller error."""


def _observables(seed: int, samples: int = 400, others: int = 50) -> list[pyerrors.Obs]:
    """Four observables of mean zero, with errors from two ensembles."""
    random = np.random.default_rng(seed)
    chain = COMMON[:, None] * random.normal(size=samples) + random.normal(size=(4, samples))
    shift = 0.3 * (ELSEWHERE[:, None] * random.normal(size=others) + random.normal(size=(4, others)))
    found = []
    for first, second in zip(chain, shift, strict=True):
        entry = pyerrors.Obs([first], ["chain"]) + pyerrors.Obs([second], ["shift"])
        entry.gamma_method(S=0)
        found.append(entry)
    return found


def test_an_ensemble_counts_by_its_share_of_the_error():
    first = np.outer(COMMON, COMMON) + np.eye(4)
    second = 0.09 * (np.outer(ELSEWHERE, ELSEWHERE) + np.eye(4))
    exact = first / 400 + second / 50
    exact /= np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    measured = np.mean([correlation(_observables(seed)) for seed in range(40)], axis=0)
    np.testing.assert_allclose(measured, exact, atol=0.04)
    np.testing.assert_array_equal(np.diag(measured), 1)


def test_probabilities_are_uniform_with_two_ensembles():
    p_values = []
    for seed in range(200):
        entries = _observables(seed)
        pulls = np.array([each.value / each.dvalue for each in entries])
        p_values.append(agreement(pulls, correlation(entries)).p_value)
    # The mean of 200 uniform numbers is 1/2 with the error 0.020, and a tenth lies below 0.1 with the error 0.021.
    assert abs(np.mean(p_values) - 0.5) < 0.07
    assert abs(np.mean(np.array(p_values) < 0.1) - 0.1) < 0.07


def test_errors_without_samples_have_the_correlations_of_the_chain():
    chain = [pyerrors.Obs([series], ["chain"]) for series in np.random.default_rng(0).normal(size=(2, 400))]
    chain[1] = 3 * chain[0] + 1e-3 * chain[1]
    alike = [pyerrors.cov_Obs(0.0, square, name) for square, name in ((1e-8, "first"), (4.0, "second"))]
    for each in (*chain, *alike):
        each.gamma_method(S=0)
    assert correlation(alike, chain)[0, 1] > 0.999
    assert correlation(alike)[0, 1] == 0


def test_an_ensemble_that_one_observable_lacks_does_not_correlate():
    first, second = (pyerrors.Obs([np.random.default_rng(k).normal(size=100)], [f"ensemble{k}"]) for k in (0, 1))
    for each in (first, second):
        each.gamma_method(S=0)
    np.testing.assert_array_equal(correlation([first, second]), np.eye(2))


def test_what_is_no_correlation_is_refused():
    with pytest.raises(ValueError, match="diagonal of 1"):
        agreement(np.ones(2), np.array([[1.0, 1.5], [1.5, 1.0]]))
