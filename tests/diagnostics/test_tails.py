"""The tail of the weights: its Pareto shape, the skewness of the mean, and verdicts that do not select."""

import math

import numpy as np
import pytest
from scipy.special import erfc
from scipy.stats import genpareto

from trivmap.diagnostics.tails import (
    LARGEST_SKEWNESS,
    enlargement,
    largest_shape,
    pareto_shape,
    skewness_of_mean,
    tail_reason,
)


@pytest.mark.parametrize("shape", [-0.5, 0.0, 0.3, 0.7, 1.2])
def test_shape_of_generalized_pareto_weights(shape):
    found = [pareto_shape(np.log(genpareto.rvs(shape, size=4000, random_state=seed))) for seed in range(40)]
    # The largest 189 of 4000, each estimate known to about (1 + k) / sqrt(189), drawn to 1/2 by the prior.
    assert np.mean(found) == pytest.approx(shape, abs=0.09)
    assert np.std(found) < 1.6 * (1 + max(shape, 0)) / math.sqrt(189)


def test_shape_does_not_depend_on_scale_or_order():
    logs = np.random.default_rng(0).normal(size=3000)
    shape = pareto_shape(logs)
    assert pareto_shape(logs + 700) == pytest.approx(shape, rel=1e-9)
    assert pareto_shape(np.random.default_rng(1).permutation(logs).reshape(3, 1000)) == pytest.approx(shape, rel=1e-12)


def test_shapes_without_a_tail():
    assert pareto_shape(np.zeros(1000)) == -math.inf
    assert math.isnan(pareto_shape(np.zeros(20)))
    assert math.isnan(pareto_shape([*np.zeros(999), np.nan]))
    assert math.isnan(pareto_shape([*np.zeros(999), np.inf]))
    assert math.isnan(pareto_shape(np.full(1000, -np.inf)))


@pytest.mark.parametrize("s", [0.3, 1.0, 1.5])
def test_skewness_is_that_of_log_normal_weights(s):
    count = 400
    e = math.exp(s**2)
    assert skewness_of_mean(float(erfc(s / 2)), count) == pytest.approx((e + 2) * math.sqrt(e - 1) / 20, rel=1e-9)


def test_skewness_at_the_ends():
    assert skewness_of_mean(1.0, 10) == 0
    assert skewness_of_mean(0.0, 10) == math.inf == skewness_of_mean(1e-40, 10)
    assert math.isnan(skewness_of_mean(math.nan, 10))
    assert enlargement(0.0) == 1


def test_limits_of_the_shape():
    assert largest_shape(1000) == 0.7
    assert largest_shape(10**6) == pytest.approx(0.5 + 3 / math.sqrt(3000))


def test_reasons():
    assert tail_reason(0.3, 0.05, 10_000) is None
    assert "Pareto shape of 0.80" in (tail_reason(0.8, 0.05, 10_000) or "")
    assert "skewness of their mean 0.5, at most 0.12" in (tail_reason(0.3, 0.5, 10_000) or "")
    assert "unknown" in (tail_reason(0.3, math.nan, 10_000) or "")
    assert "too few usable weights" in (tail_reason(math.nan, 0.1, 10) or "")


@pytest.mark.parametrize(("s", "count"), [(1.0, 4000), (1.6, 200_000)])
def test_log_z_covers_where_it_is_printed(s, count):
    """log w normal of width s, log Z = 0: pulls of all runs, of which all are below the limit."""
    rng, pulls = np.random.default_rng(count), []
    for _ in range(200):
        weights = np.exp(s * rng.normal(size=count) - s * s / 2)
        skewness = skewness_of_mean(float(erfc(s / 2)), count)
        assert skewness < LARGEST_SKEWNESS
        error = enlargement(skewness) * weights.std() / weights.mean() / math.sqrt(count)
        pulls.append(math.log(weights.mean()) / error)
    # Means and widths of 200 pulls are known to 0.07 and 0.05.
    assert abs(np.mean(pulls)) < 0.15 + 2 * 0.07
    assert 0.9 - 0.1 < np.std(pulls) < 1.12 + 0.1
