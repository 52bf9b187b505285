"""Results and chains as xarray's objects."""

import json

import numpy as np
import pytest

from tests.reports import synthetic
from trivmap.observables import ArrayHistory, analyze, chain_tree
from trivmap.observables.history import chain_series


@pytest.fixture(scope="module")
def history():
    return synthetic.history((4, 4), proposals=1500, warmup=100)


def test_results_know_their_definitions_and_facts(history):
    dataset = analyze(history).to_xarray({"action": {"kind": "free", "m_sq": 0.3}, "seed": 7, "name": None})
    assert dataset["susceptibility"].attrs == {"long_name": "χ = V⟨m²⟩", "units": "lattice units"}
    assert json.loads(dataset.attrs["action"]) == {"kind": "free", "m_sq": 0.3}
    assert (dataset.attrs["seed"], json.loads(dataset.attrs["lattice"])) == (7, [4, 4])
    assert "name" not in dataset.attrs
    assert list(dataset["quantity"].values) == ["value", "error", "tau_int", "tau_int_error"]


def test_chains_are_those_that_the_decisions_make(history):
    tree = chain_tree(history, {"seed": 1})
    assert tree.attrs == {"seed": 1}
    posterior, stats = tree["posterior"], tree["sample_stats"]
    assert dict(posterior.sizes)["draw"] == 1400 and list(posterior["draw"].values[:2]) == [100, 101]
    assert posterior["two_point"].dims == ("chain", "draw", "orbit")
    np.testing.assert_array_equal(posterior["phi2"].values, chain_series(history, "phi2"))
    # Where a proposal is rejected the chain stands still.
    stays = ~stats["accepted"].values[:, 1:]
    chain = posterior["phi2"].values
    np.testing.assert_array_equal((np.diff(chain, axis=1) == 0)[stays], True)
    assert (np.diff(chain, axis=1) != 0)[~stays].all()
    mean = analyze(history)["phi2"].value
    assert chain.mean() == pytest.approx(mean, rel=1e-3)


def test_a_chain_without_proposals_has_no_statistics():
    tree = chain_tree(ArrayHistory({"phi2": np.arange(12.0).reshape(2, 6)}, warmup=2))
    assert list(tree.children) == ["posterior"]
    np.testing.assert_array_equal(tree["posterior"]["phi2"].values, [[2, 3, 4, 5], [8, 9, 10, 11]])


def autoregressive(rho, seed, chains=4, steps=8000):
    """Chains with rho(t) = rho^t, whose tau_int is (1 + rho) / (1 - rho) / 2."""
    random = np.random.default_rng(seed)
    noise = np.sqrt(1 - rho**2) * random.normal(size=(chains, steps))
    chain = np.empty((chains, steps))
    chain[:, 0] = random.normal(size=chains)
    for step in range(1, steps):
        chain[:, step] = rho * chain[:, step - 1] + noise[:, step]
    return chain


@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_errors_of_tau_int_cover(rho):
    """Pulls over 40 seeds: widths between 0.5 and 1.1, for the window of the Gamma method is a generous one."""
    pulls = []
    for seed in range(40):
        results = analyze(ArrayHistory({"phi2": 3 + autoregressive(rho, seed)}))
        error = float(results.chain.tau_int_error("phi2"))
        pulls.append((results.tau_int["phi2"] - (1 + rho) / (1 - rho) / 2) / error)
    assert abs(np.mean(pulls)) < 0.5
    assert 0.5 < np.std(pulls) < 1.1
