"""Kernels of the user's own that a card names, through runs, a comparison and the command line."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import trivmap
from tests.oracles import ChainOracle
from tests.runs.small_run import Signaling
from trivmap.cards.card import RunCard
from trivmap.cli.main import cli
from trivmap.errors import InputError
from trivmap.reports import write_report
from trivmap.runs import pipeline
from trivmap.runs.budget import budget
from trivmap.runs.checking import check
from trivmap.runs.duration import seconds
from trivmap.runs.plan import Plan
from trivmap.runs.progress import Interrupted
from trivmap.runs.sampling import sample
from trivmap.store.samples import SampleReader

MODULE = (
    (Path(__file__).parents[1] / "simulation" / "own_kernel.py").read_text()
    + '''

class Through(AbstractIndependence):
    """Proposals of the trained map, made by hand."""

    flow: object
    action: AbstractAction
    lattice: Lattice

    def propose(self, key):
        noise_key, test_key = jax.random.split(key)
        field, log_density = self.flow.push(self.flow.noise(noise_key))
        log_weight = -self.action(field) - log_density
        return Proposal(field, log_weight, jnp.log(jax.random.uniform(test_key, dtype=log_weight.dtype)))


class Elsewhere(RandomWalk):
    def __init__(self, action):
        self.action, self.lattice, self.step_size, self.dtype = action, Lattice((7,)), 1.0, jnp.dtype("float64")


class Computing(RandomWalk):
    """Its constructor computes with numbers."""

    def __init__(self, action, lattice, dtype, batch):
        self.action, self.lattice, self.dtype = action, lattice, dtype
        self.step_size = batch * float(jnp.sqrt(jnp.asarray(0.09)))


class Single(RandomWalk):
    def init(self, key):
        return super().init(key)._replace(field=jnp.zeros(self.lattice.shape, jnp.float32))


class Wrong(RandomWalk):
    def step(self, key, state, shared=None):
        return state


class Strict(RandomWalk):
    def __init__(self, action, lattice, width):
        raise ValueError(f"width={width} is not for me")


def annotated(action, lattice) -> AbstractKernel:
    return RandomWalk(action, lattice, 0.7)


def bare(action, lattice):
    return RandomWalk(action, lattice, 0.7)
'''
)
ACTION = {"kind": "phi4", "notation": "bosetti2015", "beta": 0.5, "lam": 0.5}
CARD = {"lattice": [4], "dtype": "float64", "action": ACTION}
WALK = {"kind": "walks:RandomWalk", "chains": 8, "proposals": 24_000, "warmup": 200, "step_size": 0.6}
WIDE = {"kind": "walks:Wide", "chains": 4, "proposals": 40_000, "width": 0.9}
OPTIMIZER = {"kind": "adam", "learning_rate": 0.02}
MAP = {
    "model": {"base": {"kind": "free-field"}, "maps": []},
    "training": {
        "steps": 40,
        "batch": 64,
        "optimizer": OPTIMIZER,
        "evaluate": {"every": 40},
    },
}


@pytest.fixture(scope="module", autouse=True)
def walks(tmp_path_factory):
    """The module with the kernels."""
    folder = tmp_path_factory.mktemp("walks")
    (folder / "walks.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder))
        yield folder
    sys.modules.pop("walks", None)


@pytest.mark.parametrize(
    "card",
    [
        CARD | {"sampling": WALK},
        CARD | {"sampling": WALK | {"target_acceptance": 0.4}},
        CARD | {"sampling": WIDE},
        CARD | MAP | {"sampling": {"kind": "walks:Through", "proposals": 20_000}},
    ],
    ids=["chain", "tuned", "proposals", "through-the-map"],
)
def test_a_run(card, tmp_path):
    run, exact = trivmap.run(card, tmp_path / "run"), ChainOracle(4, *Plan(RunCard.from_data(card)).action.coefficients)
    found, sampling = run.summary["observables"], run.summary["sampling"]
    assert not run.summary["untrusted"].keys() & {"phi2", "chains", "acceptance"}, run.summary["untrusted"]
    assert abs(found["phi2"]["value"] - exact.phi2) < 4 * found["phi2"]["error"] < 0.1
    assert sampling["kind"] == card["sampling"]["kind"]
    if "Walk" in sampling["kind"]:
        assert sampling["diagnostics"]["step_size"] > 0 and run.summary["log_z"] is None
        with run.samples as reader:
            assert reader["log_ratio"].shape == (8, 3000) and reader.attrs["arguments"] == '{"step_size": 0.6}'
    else:
        log_z = run.summary["log_z"]
        assert abs(log_z["value"] - exact.log_z) < 4 * log_z["error"] < 0.1
    if "target_acceptance" in card["sampling"]:
        assert sampling["acceptance"]["value"] == pytest.approx(0.4, abs=0.05)
    page = Path(write_report(run.directory.root, trust=True)).read_text()
    assert card["sampling"]["kind"] in page


@pytest.mark.parametrize("section", [WALK, WIDE], ids=["chain", "proposals"])
def test_resumed_is_uninterrupted(section, tmp_path, optax_mixes_dtypes):
    data = CARD | {"sampling": section | {"part": 500}}
    whole, run = (pipeline.create(RunCard.from_data(data), tmp_path / name) for name in ("whole", "run"))
    sample(whole)
    with pytest.raises(Interrupted):
        sample(run, Signaling(at=2))
    sample(run)
    with SampleReader(whole.root) as one, SampleReader(run.root) as other:
        for name in ("accepted", *one.names):
            assert np.array_equal(one[name], other[name]), name
    with pytest.raises(InputError, match="arguments"):
        sample(run, card=run.card().with_overrides([f"sampling.{'width' if 'width' in section else 'step_size'}=0.5"]))
    more = run.card().with_overrides(["sampling.proposals=48000"])
    assert sample(run, card=more)["sampling"]["proposals"] == 48_000


@pytest.mark.parametrize(
    ("sampling", "sentence"),
    [
        ({"kind": "walks:Nothing"}, "sampling.kind: the module 'walks' has no 'Nothing'"),
        (
            {"kind": "walks:bare"},
            "sampling.kind: walks:bare is not called; it must be a subclass of trivmap's Abstract",
        ),
        ({"kind": "walks:jax"}, "sampling.kind: walks:jax is not called"),
        (
            {"kind": "walks:Elsewhere"},
            "sampling.kind: walks:Elsewhere makes a kernel on Lattice(shape=(7,))",
        ),
        ({"kind": "walks:Wrong"}, "sampling.kind: Wrong.step: must return (state, info)"),
        (
            {"kind": "walks:Single"},
            "sampling.kind: Single.init: the state's field: must be float64 of shape (4,)",
        ),
        ({"kind": "walks:Strict", "width": 2}, "sampling: walks:Strict refused its arguments: width=2 is not for me"),
        ({"kind": "walks:RandomWalk", "length": 2}, "sampling.length: unknown key; known here: step_size"),
        ({"kind": "walks:Through"}, "sampling: walks:Through refused its arguments: "),
        ({"kind": "walks:RandomWalk", "start": "mixed"}, "sampling.kind: start: RandomWalk has no 'mixed' start"),
        ({"kind": "walks:Wide", "start": "cold"}, "sampling.target_acceptance, sampling.start: of no use, walks:Wide"),
    ],
)
def test_refusals(sampling, sentence, tmp_path):
    with pytest.raises(InputError) as caught:
        check(Plan(RunCard.from_data(CARD | {"sampling": sampling})), tmp_path / "run")
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)


def test_the_arguments_are_the_kernels_alone(tmp_path):
    """`batch` and `integration_steps` are keys of other kinds, and a constructor may compute."""
    section = {"kind": "walks:Computing", "batch": 2, "proposals": 8000, "chains": 4}
    run = trivmap.run(CARD | {"sampling": section}, tmp_path / "run")
    assert run.summary["sampling"]["diagnostics"]["step_size"] == pytest.approx(0.6)


def test_a_long_warmup_of_chains_and_of_proposals(tmp_path):
    """Chains warm up before their steps, independent proposals are counted from the first."""
    check(Plan(RunCard.from_data(CARD | {"sampling": WALK | {"proposals": 800, "warmup": 500}})), tmp_path / "run")
    with pytest.raises(InputError, match=r"sampling\.warmup: leaves -50 proposals of each chain"):
        check(Plan(RunCard.from_data(CARD | {"sampling": WIDE | {"proposals": 800, "warmup": 250}})), tmp_path / "run")


def test_what_is_annotated_is_called(tmp_path):
    check(Plan(RunCard.from_data(CARD | {"sampling": {"kind": "walks:annotated"}})), tmp_path / "run")


@pytest.mark.parametrize("name", ["accepted", "proposals", "kind", "seed", "lattice"])
def test_an_argument_may_have_any_name_that_is_no_key(name):
    given = RunCard.from_data(CARD | {"sampling": WALK | {name: 2, "kind": WALK["kind"], "proposals": 24_000}}).sampling
    assert given.arguments == {"step_size": 0.6} | ({} if name in ("kind", "proposals") else {name: 2})


@pytest.mark.parametrize("section", [WALK, WIDE], ids=["chain", "proposals"])
def test_what_it_takes_is_estimated(section):
    plan, more = (Plan(RunCard.from_data(CARD | {"sampling": section | {"proposals": n}})) for n in (40_000, 4_000_000))
    assert 0 < seconds(plan) < seconds(more) / 20
    assert 0 < budget(plan).disk < budget(more).disk / 50


def test_another_kind_keeps_what_has_a_meaning():
    hmc = {"kind": "hmc", "chains": 6, "proposals": 6000, "trajectory_length": 2.0}
    card = RunCard.from_data(CARD | {"sampling": hmc})
    own = card.with_overrides(["sampling.kind=walks:RandomWalk", "sampling.step_size=0.5"]).sampling
    assert (own.chains, own.proposals, own.arguments) == (6, 6000, {"step_size": 0.5})


def test_a_comparison(tmp_path, optax_mixes_dtypes):
    from trivmap.studies.compare_card import CompareCard
    from trivmap.studies.comparison import ComparisonDirectory, compare

    data = CARD | {"samplers": {"walk": {"sampling": WALK}, "hmc": {"sampling": {"kind": "hmc", "proposals": 16_000}}}}
    data |= {"timing": {"rounds": 3, "seconds": 0.05}}
    result = compare(ComparisonDirectory.create(tmp_path / "comparison", CompareCard.from_data(data)))
    walk, hmc = (result["samplers"][name]["observables"]["phi2"] for name in ("walk", "hmc"))
    assert all(each["seconds_per_step"]["value"] > 0 for each in result["samplers"].values())
    assert abs(walk["value"] - hmc["value"]) < 4 * np.hypot(walk["error"], hmc["error"])


def test_somebody_elses_directory(tmp_path, walks):
    root = tmp_path / "run"
    trivmap.run(CARD | {"sampling": WALK}, root)
    (walks / "walks.py").rename(walks / "kept.py")
    sys.modules.pop("walks", None)
    (walks / "walks.py").write_text("raise SystemExit('ran')")
    try:
        shown = CliRunner().invoke(cli, ["show", str(root), "--json"])
        assert shown.exit_code == 0 and json.loads(shown.stdout)["sampling"]["kind"] == WALK["kind"]
        refused = CliRunner().invoke(cli, ["sample", str(root), "--set", "sampling.proposals=48000"])
        assert refused.exit_code == 2 and "names code that would run in this process, walks" in refused.stderr
        assert CliRunner().invoke(cli, ["report", str(root)]).exit_code == 0
    finally:
        shutil.move(walks / "kept.py", walks / "walks.py")
        sys.modules.pop("walks", None)
