"""The streaming pass against the chain and the weights written out in memory."""

import numpy as np
import pytest

from trivmap.errors import InputError
from trivmap.observables import ArrayHistory, binning
from trivmap.observables.binning import bin_history

CHAINS, STEPS, WARMUP = 3, 997, 50


def history(rng, *, acceptance=0.3, **changes):
    accepted = rng.random((CHAINS, STEPS)) < acceptance
    accepted[:, 0] = True
    arguments = {
        "accepted": accepted,
        "log_weight": rng.normal(size=(CHAINS, STEPS)) + 700.0,
        "lattice": (4, 4),
        "warmup": WARMUP,
    } | changes
    observables = {
        "magnetization": rng.normal(size=(CHAINS, STEPS)),
        "two_point": rng.normal(size=(CHAINS, STEPS, 5)).astype(np.float32),
    }
    return ArrayHistory(observables, **arguments), observables, arguments


def chain_of(values, accepted):
    """The configuration at every step, by going through the steps."""
    out, current = np.empty(values.shape), None
    for step, taken in enumerate(accepted):
        current = values[step] if taken else current
        out[step] = current
    return out


@pytest.mark.parametrize("chunk", [1, 7, 100, 10**6])
@pytest.mark.parametrize("bins", [None, 15, 60, 3 * (STEPS - WARMUP)])
def test_bins_are_those_of_the_whole_history(monkeypatch, chunk, bins):
    samples, observables, arguments = history(np.random.default_rng(0))
    monkeypatch.setattr(binning, "_CHUNK_BYTES", 8 * 9 * chunk)
    binned = bin_history(samples, bins, in_block=["magnetization", "abs_magnetization", "magnetization_fourth"])
    length, count = binned.length, binned.chain.shape[1]
    assert STEPS - WARMUP - length < length * count <= STEPS - WARMUP
    assert count >= (334 if bins is None else bins // CHAINS)
    first = STEPS - length * count

    m = observables["magnetization"]
    primaries = {
        "magnetization": m[..., None],
        "abs_magnetization": np.abs(m)[..., None],
        "magnetization_squared": m[..., None] ** 2,
        "magnetization_fourth": m[..., None] ** 4,
        "two_point": observables["two_point"].astype(np.float64),
    }
    weights = np.exp(arguments["log_weight"] - arguments["log_weight"][:, first:].max())
    chains = {}
    for name, values in primaries.items():
        where = binned.columns.slices[name]
        chain = np.stack([chain_of(values[c], arguments["accepted"][c]) for c in range(CHAINS)])[:, first:]
        chains[name] = chain.reshape(-1, chain.shape[-1])
        means = chain.reshape(CHAINS, count, length, -1).mean(axis=2)
        np.testing.assert_allclose(binned.chain[..., where], means, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(binned.variance[where], chains[name].var(axis=0), rtol=1e-10)
        products = (weights[..., None] * values)[:, first:].reshape(CHAINS, count, length, -1).sum(axis=2)
        np.testing.assert_allclose(binned.weighted[..., where], products, rtol=1e-12, atol=1e-12)
    block = np.hstack([chains[name] for name in list(binned.columns.slices)[:3]])
    np.testing.assert_allclose(binned.covariance, np.cov(block.T, ddof=0), rtol=1e-9, atol=1e-12)
    used = weights[:, first:]
    np.testing.assert_allclose(binned.weight, used.reshape(CHAINS, count, length).sum(axis=2), rtol=1e-12)
    assert binned.effective_samples == pytest.approx(used.sum() ** 2 / np.sum(used**2))

    taken = arguments["accepted"]
    assert binned.moves == taken[:, first:].sum()
    # A run of rejections that began in the warm-up counts whole.
    runs = [np.diff([*np.flatnonzero(taken[c]), STEPS]) - 1 for c in range(CHAINS)]
    ends = [np.array([*np.flatnonzero(taken[c])[1:], STEPS]) for c in range(CHAINS)]
    assert binned.longest_stand == max(run[end > first].max() for run, end in zip(runs, ends, strict=True))


def test_state_is_carried_from_far_before_the_chunk(monkeypatch):
    values = np.arange(1.0, 101.0)
    accepted = np.zeros(100, bool)
    accepted[[0, 3, 90]] = True
    monkeypatch.setattr(binning, "_CHUNK_BYTES", 8 * 5)
    samples = ArrayHistory({"phi2": values}, accepted=accepted, log_weight=np.zeros(100), warmup=20)
    binned = bin_history(samples, 8)
    np.testing.assert_array_equal(binned.chain.ravel(), [4.0] * 7 + [91.0])
    assert (binned.length, binned.moves, binned.longest_stand) == (10, 1, 86)


def test_chain_that_needs_no_weights_is_averaged_as_it_is():
    values = np.random.default_rng(3).normal(size=(2, 60))
    binned = bin_history(ArrayHistory({"phi2": values}, warmup=10), 10)
    np.testing.assert_allclose(binned.chain[..., 0], values[:, 10:].reshape(2, 5, 10).mean(axis=2), rtol=1e-13)
    assert binned.weight is None
    assert binned.moves == 100


def test_proposals_of_no_weight_may_hold_anything():
    _, observables, arguments = history(np.random.default_rng(4))
    bad = ~arguments["accepted"] & (np.arange(STEPS) % 10 == 0)
    observables["magnetization"][bad] = np.inf
    observables["magnetization"][0, 77] = 1e200
    arguments["accepted"][0, 77], bad[0, 77] = False, True
    arguments["log_weight"][bad] = -np.inf
    arguments["log_weight"][1, np.flatnonzero(bad[1])[-3:]] = np.nan
    binned = bin_history(ArrayHistory(observables, **arguments))
    assert np.all(np.isfinite(binned.chain))
    assert np.all(np.isfinite(binned.weighted))
    assert binned.invalid_weights == 3


def test_chain_without_a_start_is_counted():
    samples, observables, arguments = history(np.random.default_rng(5))
    assert bin_history(samples).unstarted == 0
    late = arguments["accepted"].copy()
    late[1, : WARMUP + 20] = False
    assert bin_history(ArrayHistory(observables, **arguments | {"accepted": late})).unstarted == 1


@pytest.mark.parametrize(
    ("steps", "warmup", "bins", "message"),
    [(100, 97, None, "raise sampling.proposals"), (100, 200, None, "0 steps"), (100, 0, 9, "at least 10")],
)
def test_too_little_data_is_refused(steps, warmup, bins, message):
    samples = ArrayHistory({"phi2": np.zeros((2, steps))}, warmup=warmup)
    with pytest.raises(InputError, match=message):
        bin_history(samples, bins)


def test_arrays_that_do_not_fit_together_are_refused():
    with pytest.raises(InputError, match="same leading axes"):
        ArrayHistory({"phi2": np.zeros((2, 10)), "phi4": np.zeros((2, 11))})
    with pytest.raises(InputError, match="or neither"):
        ArrayHistory({"phi2": np.zeros((2, 10))}, accepted=np.ones((2, 10), bool))
