"""Ensembles of the user's own: exact answers of a free field, and what gives away a wrong one."""

import json

import h5py
import numpy as np
import pytest

from tests.oracles import FreeFieldOracle
from tests.runs.small_run import copied, created
from tests.runs.support import RING, contents
from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.estimate import Estimate
from trivmap.loading import Run
from trivmap.runs import given, pipeline, sampling
from trivmap.runs.export import export
from trivmap.runs.plan import Plan
from trivmap.runs.train import train
from trivmap.store.samples import SampleReader

VARIANCE = 1 / (4 * np.sin(np.pi * np.arange(4) / 4) ** 2 + 0.5)
"""Of each momentum of the free field of `small_run`."""


def exact(count, chains=2, seed=0):
    """Independent configurations of the free field, shape (chains, count, 4)."""
    normal = np.random.default_rng(seed).normal(size=(chains, count, 4))
    return np.fft.ifft(np.sqrt(VARIANCE) * np.fft.fft(normal, axis=-1), axis=-1).real


def test_observables_of_a_free_field(sampled):
    before = contents(sampled.root)
    results = Run(sampled).measure(exact(20_000))
    oracle = FreeFieldOracle((4,), -1.0, 1.25)
    for name, value in (("phi2", oracle.propagator.flat[0]), ("susceptibility", 2.0), ("schwinger_dyson", 1.0)):
        assert abs(results[name].value - value) < 3.5 * results[name].dvalue < 0.1
        assert results.tau_int[name] == pytest.approx(0.5, abs=0.15)
    assert contents(sampled.root) == before
    # The chains may be one, and their precision any.
    one = Run(sampled).measure(exact(4000).reshape(8000, 4))
    assert one.info["chains"] == 1 and abs(one["phi2"].value - oracle.propagator.flat[0]) < 4 * one["phi2"].dvalue


def test_forward_ess_is_that_of_two_gaussians(sampled):
    flow = Run(sampled).flow
    orbits = np.exp(2 * np.asarray(flow.base.log_width()))
    ratio = orbits[[0, 1, 2, 1]] / VARIANCE
    value = 1 / np.prod(ratio / np.sqrt(2 * ratio - 1))
    assert 0.97 < value < 0.9999
    fields = exact(30_000)
    found = Run(sampled).forward_ess(fields)
    assert abs(found.value - value) < 3.5 * found.error < 0.01
    # Every configuration ten times over says no more, and the error knows it.
    again = Run(sampled).forward_ess(np.repeat(fields[:, :3000], 10, axis=1))
    few = Run(sampled).forward_ess(fields[:, :3000])
    assert again.value == pytest.approx(few.value, rel=1e-6)
    assert again.error == pytest.approx(few.error, rel=0.3)


def test_log_weights_of_proposals_are_those_of_the_run(even, tmp_path):
    """Backward through a continuous map of the even sites, at whole configurations."""
    made = export(even, tmp_path / "out.h5", 2000)
    with h5py.File(made.path) as file:
        fields, log_weight = file["fields"][:], file["log_weight"][:]
    found = given.judged(even, Plan(even.card()), fields)
    assert found.mean_log_weight.value == pytest.approx(log_weight.mean(), abs=1e-4)


def test_the_chain_of_a_run_agrees_with_its_proposals(even):
    with SampleReader(even.root) as reader:
        chain = reader["fields"]
    found = given.judged(even, Plan(even.card()), chain)
    reverse = given.reverse_ess(even.summary())
    assert reverse is not None and given.disagreement(found.forward_ess, reverse) is None
    assert abs(found.forward_ess.value - reverse.value) < 5 * np.hypot(found.forward_ess.error, reverse.error) < 0.2


def test_another_theory_gives_itself_away(sampled):
    plan = Plan(sampled.card())
    rescaled = given.measured(plan, 1.2 * exact(5000))
    assert not rescaled.chain and "other couplings, of a field with another normalization" in given.other_theory(
        rescaled
    )
    assert given.other_theory(given.measured(plan, exact(5000))) is None


def test_differences_from_the_run():
    found = {"phi2": {"value": 1.0, "error": 0.3}, "other": {"value": 0.0, "error": 1.0}}
    compared = given.differences(found, {"observables": {"phi2": {"value": 4.0, "error": 0.4}}})
    assert compared == {"phi2": given.Difference(-3.0, 0.5, -6.0)}
    assert given.largest_difference(compared).startswith("phi2 is 6 errors of the difference from that of the run")
    assert given.largest_difference({"phi2": given.Difference(-1.0, 0.5, -2.0)}) is None


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        (Estimate(0.5, 0.01), "the map misses a part of exp(-S)"),
        (Estimate(0.99, 0.01), "these configurations miss a part"),
        (Estimate(0.8, 0.1), None),
        (Estimate(float("nan"), float("nan")), "too few or too correlated"),
    ],
)
def test_disagreement(forward, said):
    found = given.disagreement(forward, Estimate(0.9, 0.001))
    assert (found is None) if said is None else said in found


def test_a_missing_mode(sampled):
    """The map of a narrow field, at configurations of which every tenth is far out."""
    fields = exact(5000)
    fields[:, ::10] *= 4
    found = given.judged(sampled, Plan(sampled.card()), fields)
    assert "the map misses a part" in given.disagreement(found.forward_ess, Estimate(0.98, 0.001))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (np.zeros((10, 5)), r"has shape \[10, 5\]; configurations of this run have shape \[n, 4\]"),
        (np.zeros(4), r"has shape \[4\]"),
        (np.zeros((2, 3, 10, 4)), r"has shape \[2, 3, 10, 4\]"),
        (np.zeros((0, 4)), r"has shape \[0, 4\]"),
        (np.zeros((10, 4), complex), "holds complex128; configurations are real numbers"),
        (np.ones((10, 4), int), "holds int64"),
        (np.where(np.arange(40).reshape(10, 4) == 22, np.nan, 0.5), "configuration 5 of chain 0"),
        (np.full((2, 10, 4), 1e300), "configuration 0 of chain 0"),
        (np.ones((1, 4)), "at least 5 are needed"),
    ],
)
def test_what_is_refused(fields, message, sampled):
    with pytest.raises(InputError, match=message):
        Run(sampled).measure(fields)


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble])
def test_other_floats_are_refused(dtype, sampled):
    with pytest.raises(InputError, match="configurations are real numbers, float32 or float64"):
        Run(sampled).measure(np.ones((10, 4), dtype))


def test_a_run_as_an_ensemble(sampled, tmp_path):
    run, other = Run(sampled), created(tmp_path / "other", seed=3)
    train(other)
    sampling.sample(other)
    with SampleReader(other.root) as reader:
        fields, skipped = reader["fields"], -(-reader.warmup // 3)
    assert run.measure(other.root).summary() == run.measure(fields[:, skipped:]).summary()
    for same in (sampled.root, copied(sampled, tmp_path / "copy").root):
        with pytest.raises(InputError, match="is the run itself, whose chain cannot judge it"):
            run.forward_ess(same)
    np.save(tmp_path / "chain.npy", fields)
    assert run.forward_ess(str(tmp_path / "chain.npy")) == run.forward_ess(fields)
    withheld = copied(other, tmp_path / "withheld")
    withheld.update_summary(untrusted={"probe": "it misses a mode"})
    with pytest.raises(InputError, match="its chains are withheld, and so are their configurations: it misses a mode"):
        run.measure(withheld.root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action": {"kind": "free", "m_sq": 0.6}}, "has another action"),
        ({"lattice": [6]}, "has another lattice"),
        ({"sampling": {"kind": "hmc", "proposals": 320}}, "has not stored its fields"),
        ({}, "holds no fields yet"),
    ],
)
def test_a_run_that_is_no_such_ensemble(change, message, sampled, tmp_path):
    sampling = {"kind": "hmc", "proposals": 320, "save_fields": True}
    data = {"lattice": [4], "action": {"kind": "free", "m_sq": 0.5}, "sampling": sampling} | change
    other = pipeline.create(RunCard.from_data(data), tmp_path / "other")
    with pytest.raises(InputError, match=f"configurations: .*other {message}"):
        Run(sampled).measure(other.root)


def test_a_run_without_a_map_has_no_weights(tmp_path):
    data = {key: RING[key] for key in ("seed", "lattice", "action")} | {"sampling": {"kind": "hmc", "proposals": 320}}
    run = pipeline.create(RunCard.from_data(data), tmp_path / "run")
    with pytest.raises(InputError, match="has no map"):
        Run(run).forward_ess(np.zeros((10, 8)))


def test_the_tree_of_chains_is_that_of_complete_samples(sampled, tmp_path):
    run = copied(sampled, tmp_path / "run")
    run.update_summary(untrusted={"log_z": "too few"})
    tree = Run(run).to_datatree()
    assert tree["posterior"]["phi2"].shape == (2, 1080)
    assert json.loads(tree.attrs["untrusted"]) == {"log_z": "too few"}
    run.update_summary(sampling=run.summary()["sampling"] | {"proposals": 4800})
    with pytest.raises(InputError, match="sampling is not finished"):
        Run(run).to_datatree()
