"""The bias of chains by their starts, from weights alone, against chains that are run."""

import numpy as np
import pytest

from trivmap.diagnostics.burn_in import LARGEST_BIAS, burn_in

WIDTH = 0.4  # of the Gaussian target, proposals having width 1


def chains(rng, runs, steps):
    """Independence Metropolis for x^2, started at a proposal: shape (steps, runs)."""
    x = rng.normal(size=runs)
    out = np.empty((steps, runs))
    for step in range(steps):
        y, log_uniform = rng.normal(size=runs), np.log(rng.random(runs))
        accepted = log_uniform < log_weight(y) - log_weight(x)
        x = np.where(accepted, y, x) if step else x
        out[step] = x**2
    return out


def log_weight(x):
    return x**2 / 2 - x**2 / (2 * WIDTH**2)


def test_bias_is_bounded_and_of_the_right_size():
    rng = np.random.default_rng(0)
    steps, warmup = 12, 2
    values = chains(rng, 400_000, steps)[warmup:]
    spread = np.sqrt(3 - 1) * WIDTH**2
    bias = abs(values.mean() - WIDTH**2) / spread
    found = burn_in(log_weight(rng.normal(size=20_000)), chains=100, steps=steps, warmup=warmup)
    error = np.sqrt(2 * found.tau_int / (100 * (steps - warmup)))
    # In errors of the average over 100 chains. Starts lie several spreads from the target here, which adds to the bias.
    assert bias / error < 4 * found.bias
    assert found.bias < 4 * bias / error


def test_autocorrelation_time_is_that_of_the_rejections():
    rng = np.random.default_rng(1)
    x = np.linspace(-8, 8, 3201)
    target, proposal = np.exp(-(x**2) / (2 * WIDTH**2)), np.exp(-(x**2) / 2)
    weight = target / proposal
    stay = 1 - np.minimum(1, weight / weight[:, None]) @ proposal / proposal.sum()
    exact = 0.5 + np.sum(target * stay / (1 - stay)) / target.sum()
    found = burn_in(log_weight(rng.normal(size=50_000)), chains=4, steps=10_000, warmup=1000)
    assert found.tau_int == pytest.approx(exact, rel=0.02)
    assert found.reason is None


def test_short_chains_are_refused_and_the_warmup_that_would_do_is_named():
    logs = log_weight(np.random.default_rng(2).normal(size=20_000))
    short = burn_in(logs, chains=2000, steps=10, warmup=1)
    assert short.reason is not None and "still remember their starts" in short.reason
    long = burn_in(logs, chains=100, steps=200, warmup=2)
    assert long.bias > LARGEST_BIAS and 2 < long.warmup < 100
    enough = burn_in(logs, chains=100, steps=200, warmup=long.warmup)
    assert enough.reason is None
    assert burn_in(logs, chains=100, steps=200, warmup=long.warmup - 1).reason is not None


def test_equal_weights_have_nothing_to_forget():
    found = burn_in(np.zeros(1000), chains=1000, steps=1, warmup=0)
    assert (found.tau_int, found.bias, found.reason) == (0.5, 0.0, None)
