"""Runs that sample by Markov chains: hybrid Monte Carlo, through a map too, and clusters."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from tests.runs.small_run import CARD, Signaling, copied
from tests.runs.support import contents
from trivmap.actions import FreeScalar
from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.runs import pipeline, sampling
from trivmap.runs.progress import Interrupted
from trivmap.store.samples import SampleReader

pytestmark = pytest.mark.usefixtures("optax_mixes_dtypes")
COMMON = {"chains": 4, "proposals": 8000, "part": 600, "warmup": 200, "save_fields": True, "thin": 3}
KINDS = {
    "hmc": {"kind": "hmc", "trajectory_length": 1.5},
    "trivialized-hmc": {"kind": "trivialized-hmc"},
    "cluster": {"kind": "cluster"},
}


def card(kind, **changes):
    data = json.loads(json.dumps(CARD))
    data["sampling"] = COMMON | KINDS[kind] | changes
    data |= {"training": None, "seed": 7}
    if kind != "trivialized-hmc":
        data["model"] = None
    return RunCard.from_data(data)


@pytest.fixture(scope="module", params=KINDS)
def drawn(request, tmp_path_factory):
    run = pipeline.create(card(request.param), tmp_path_factory.mktemp(request.param) / "run")
    sampling.sample(run)
    return run


def arrays(run):
    with SampleReader(run.root) as reader:
        names = ("accepted", "fields", *reader.names)
        return {name: np.stack([reader.read(name, c, 0, 10**6) for c in range(reader.chains)]) for name in names}


def test_summary_and_observables(drawn, tmp_path):
    run = copied(drawn, tmp_path / "run")
    summary = pipeline.measure(run)
    found = summary["sampling"]
    assert (found["kind"], found["chains"], found["proposals"]) == (run.card().sampling.kind, 4, 8000)
    assert 0.6 < found["acceptance"]["value"] <= 1 and found["ess"] is None and summary["log_z"] is None
    assert 0.3 < found["tau_int"]["value"] < 5 and found["tau_int"]["error"] < 0.3 * found["tau_int"]["value"]
    assert found["r_hat"] < 1.05 and found["diagnostics"]
    assert not {"log_z", "acceptance", "chains"} & summary["untrusted"].keys()
    chi = summary["observables"]["susceptibility"]
    assert abs(chi["value"] - 1 / 0.5) < 3.5 * chi["error"] < 0.35
    dyson = summary["observables"]["schwinger_dyson"]
    assert abs(dyson["value"] - 1) < 3.5 * dyson["error"] < 0.1
    if "hmc" in found["kind"]:
        creutz = summary["observables"]["delta_h_symmetry"]
        assert abs(creutz["value"] - 1) < 3.5 * creutz["error"] < 0.1
        assert found["diagnostics"]["irreversibility"] < 1e-4


def test_stored_fields_are_those_measured(drawn):
    stored = arrays(drawn)
    assert stored["fields"].shape == (4, 667, 4) and stored["accepted"].shape == (4, 2000)
    magnetization = stored["fields"].mean(axis=-1)
    np.testing.assert_allclose(magnetization, stored["magnetization"][:, ::3], atol=1e-6)
    energy = np.array(
        [[FreeScalar(0.5, 1)(jnp.asarray(field)) / 4 for field in chain[:20]] for chain in stored["fields"]]
    )
    np.testing.assert_allclose(energy, stored["action_density"][:, ::3][:, :20], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("at", [1, 3])
def test_interrupted_it_goes_on_with_the_same_chains(drawn, tmp_path, at):
    run = pipeline.create(drawn.card(), tmp_path / "run")
    with pytest.raises(Interrupted, match=rf"interrupted after {at * 600} of 2000 proposals per chain"):
        sampling.sample(run, Signaling(at))
    summary = sampling.sample(run)
    ours, theirs = arrays(run), arrays(drawn)
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        np.testing.assert_array_equal(ours[name], values)
    assert summary["sampling"]["tau_int"] == drawn.summary()["sampling"]["tau_int"]


def test_more_can_be_asked_for(drawn, tmp_path):
    run = copied(drawn, tmp_path / "run")
    more = run.card().with_overrides(["sampling.proposals=9600"])
    assert sampling.sample(run, card=more)["sampling"]["proposals"] == 9600
    for name, values in arrays(drawn).items():
        np.testing.assert_array_equal(arrays(run)[name][:, : values.shape[1]], values)


@pytest.mark.parametrize("kind", ["hmc", "cluster"])
def test_another_sampler_or_action_is_refused_and_the_card_stays(kind, tmp_path):
    run = pipeline.create(card(kind, proposals=2400), tmp_path / "run")
    sampling.sample(run)
    before = contents(run.root)
    own = {"hmc": "trajectory_length=1.0", "cluster": "local_updates=3"}[kind]
    for change in (f"sampling.{own}", "sampling.warmup=300", "action.m_sq=0.7", "dtype=float64"):
        key = change.split("=")[0].split(".")[-1].replace("m_sq", "action").replace("warmup", "warmup_steps")
        with pytest.raises(InputError, match=rf"was drawn with {key} = "):
            sampling.sample(run, card=run.card().with_overrides([change]))
        assert contents(run.root) == before | {".lock": contents(run.root)[".lock"]}


def test_chains_that_do_not_tunnel_are_no_result(tmp_path):
    data = json.loads(json.dumps(CARD)) | {
        "lattice": [4, 4],
        "action": {"kind": "phi4", "notation": "bosetti2015", "beta": 1.2, "lam": 0.5},
        "model": None,
        "training": None,
        "sampling": {"kind": "hmc", "chains": 4, "proposals": 2000, "warmup": 200},
    }
    run = pipeline.create(RunCard.from_data(data), tmp_path / "run")
    sampling.sample(run)
    summary = pipeline.measure(run)
    assert summary["sampling"]["r_hat"] > 2
    assert summary["observables"] == {}
    assert "the chains disagree about magnetization" in summary["untrusted"]["susceptibility"]
    assert "the chains disagree" in summary["untrusted"]["chains"]


def test_samples_of_another_action_are_not_measured(tmp_path):
    data = card("cluster", proposals=400).to_data()
    runs = [pipeline.create(RunCard.from_data(data | {"seed": seed}), tmp_path / str(seed)) for seed in (1, 2)]
    for run in runs:
        sampling.sample(run)
    runs[0].config_path.write_text(json.dumps(data | {"seed": 1, "action": data["action"] | {"m_sq": 0.6}}))
    with pytest.raises(InputError, match=r"samples.h5: was drawn with action = .*, not with kind free, m_sq 0.6"):
        pipeline.measure(runs[0])
    shutil.rmtree(runs[1].root / "samples")
    for name in ("samples", "samples.h5"):
        source = runs[0].root / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, runs[1].root / name)
    with pytest.raises(InputError, match="was drawn with seed = 1, not with 2"):
        pipeline.measure(runs[1])


def test_trajectories_that_are_never_accepted_are_no_result(tmp_path):
    run = pipeline.create(card("hmc", proposals=400, step_size=50.0, warmup=0, save_fields=False), tmp_path / "run")
    sampling.sample(run)
    summary = pipeline.measure(run)
    assert summary["sampling"]["acceptance"]["value"] == 0
    assert summary["observables"] == {}
    for name in ("chains", "phi2", "delta_h_symmetry"):
        assert "0 of 400 trajectories were accepted" in summary["untrusted"][name]


def test_clusters_refuse_an_antiferromagnet_before_anything_is_made(tmp_path):
    data = card("cluster").to_data() | {"action": {"kind": "phi4", "notation": "bosetti2015", "beta": -0.5, "lam": 0.5}}
    with pytest.raises(InputError, match="ferromagnetic"):
        pipeline.create(RunCard.from_data(data), tmp_path / "run")
    assert not (tmp_path / "run").exists()
