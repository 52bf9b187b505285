"""One seed, several runs: independent unless the card asks for common noise."""

import copy

import jax
import numpy as np
import pytest

from tests.runs.small_run import CARD, copied, created
from trivmap.cards import yaml_text
from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.runs import pipeline
from trivmap.runs.keys import keys
from trivmap.runs.sampling import sample
from trivmap.runs.train import train
from trivmap.store.directory import RunDirectory
from trivmap.store.samples import SampleReader

USES = ("init", "train", "sample", "stages", "probe")
THEORY, SAMPLES, NOTHING = set(USES), {"sample", "stages", "probe"}, set()
FLOW = {"kind": "flow", "chains": 2, "proposals": 8000, "warmup": 0}


def changed(base=CARD, **changes):
    data = copy.deepcopy(base)
    for path, value in changes.items():
        *parents, last = path.split("__")
        holder = data
        for parent in parents:
            holder = holder[parent]
        holder[last] = value
    return RunCard.from_data(data)


def words(card):
    return {use: tuple(np.asarray(jax.random.key_data(key))) for use, key in keys(card).items()}


OWN = changed(sampling={"kind": "hmc", "chains": 2, "proposals": 800}, model=None, training=None)
AFFINE = {"kind": "affine", "couplings": 2, "network": {"kind": "dense", "hidden": [4]}}
CHANGES = [
    ({"seed": 3}, THEORY),
    ({"lattice": [6]}, THEORY),
    ({"dtype": "float64"}, THEORY),
    ({"action__m_sq": 0.6}, THEORY),
    ({"model__maps": [{"kind": "rescale"}]}, THEORY),
    ({"model__maps": [AFFINE]}, THEORY),
    ({"training__steps": 40}, SAMPLES),
    ({"training__batch": 32}, SAMPLES),
    ({"training__optimizer": {"kind": "adam", "learning_rate": 1e-3}}, SAMPLES),
    ({"training__stop": {"acceptance": 0.5}}, SAMPLES),
    ({"training__ema": 0.9}, SAMPLES),
    ({"training__ladder": [{"lattice": [2]}]}, SAMPLES),
    ({"sampling": {"kind": "trivialized-hmc", "chains": 2, "proposals": 2400}}, SAMPLES),
    ({"sampling": {"kind": "annealed", "chains": 2, "proposals": 2400}}, SAMPLES),
    ({"training": None}, SAMPLES),
    ({"sampling__proposals": 24000}, NOTHING),
    ({"sampling__chains": 4}, NOTHING),
    ({"sampling__batch": 100}, NOTHING),
    ({"sampling__part": 200}, NOTHING),
    ({"sampling__warmup": 50}, NOTHING),
    ({"sampling__thin": 1}, NOTHING),
    ({"sampling__save_fields": False}, NOTHING),
    ({"sampling__integration_steps": 6}, NOTHING),
    ({"training__evaluate": {"every": 20}}, NOTHING),
    ({"training__chunk": 2}, NOTHING),
    ({"training__start": "other"}, NOTHING),
    ({"name": "x", "description": "y", "threads": 1}, NOTHING),
    ({"measure": {"bins": 20}}, NOTHING),
]


@pytest.mark.parametrize(("changes", "others"), CHANGES, ids=[next(iter(changes)) for changes, _ in CHANGES])
def test_what_gives_a_run_other_random_numbers(changes, others):
    before, after = words(changed()), words(changed(**changes))
    assert {use for use in USES if before[use] != after[use]} == others
    if "seed" not in changes:
        assert words(changed(common_noise=True)) == words(changed(**changes, common_noise=True))


def test_settings_of_a_chain_give_other_random_numbers():
    data = OWN.to_data()
    longer = RunCard.from_data({**data, "sampling": {**data["sampling"], "trajectory_length": 2.0}})
    assert words(OWN)["sample"] != words(longer)["sample"]


def test_the_uses_of_a_run_share_nothing():
    for common in (False, True):
        assert len(set(words(changed(common_noise=common)).values())) == len(USES)


def test_the_streams_of_a_card_stay_what_they_are():
    """A card run again by a later version draws the same numbers; change these only with a note in the changelog."""
    assert words(changed())["sample"] == (2106311099, 1915396323)
    assert words(changed(common_noise=True))["sample"] == (2859854988, 2425776485)


def drawn(folder, **changes):
    """The magnetization of every step, of a map that is not trained unless asked."""
    card = changed(**{"training": None, "sampling": FLOW, **changes})
    run = pipeline.create(card, folder)
    if card.training is not None:
        train(run)
    sample(run)
    with SampleReader(run.root) as reader:
        return np.concatenate(reader["magnetization"])


HMC = {"kind": "hmc", "chains": 2, "proposals": 8000, "start": "hot", "trajectory_length": 2.0}
PAIRS = {
    "lattices": ({}, {"lattice": [6]}),
    "couplings": ({}, {"action__m_sq": 0.7}),
    "hmc, lattices": ({"model": None, "sampling": HMC}, {"model": None, "sampling": HMC, "lattice": [6]}),
    "hmc, couplings": ({"model": None, "sampling": HMC}, {"model": None, "sampling": HMC, "action__m_sq": 0.7}),
    "samplers": ({}, {"model": None, "sampling": HMC}),
    "training": ({}, {"training": CARD["training"]}),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_runs_of_one_seed_are_independent(tmp_path, pair):
    x, y = (drawn(tmp_path / str(number), **changes) for number, changes in enumerate(pair))
    assert abs(np.corrcoef(x, y)[0, 1]) < 4 / np.sqrt(len(x) / spread(x, y))


def spread(x, y):
    """By how much autocorrelations enlarge the variance of the correlation: 1 + 2 sum rho_x rho_y."""
    both = [[np.corrcoef(z[:-t], z[t:])[0, 1] for t in range(1, 30)] for z in (x, y)]
    return max(1.0, 1 + 2 * float(np.dot(*both)))


@pytest.mark.parametrize("name", ["couplings", "hmc, couplings", "lattices"])
def test_common_noise_makes_them_alike(tmp_path, name):
    x, y = (drawn(tmp_path / str(n), **changes, common_noise=True) for n, changes in enumerate(PAIRS[name]))
    assert np.corrcoef(x, y)[0, 1] > 0.5


class TestRunsOfOlderVersions:
    """Their cards have no common_noise, and neither have their samples: everything followed from the seed."""

    @staticmethod
    def aged(run):
        data = yaml_text.parse(run.config_path.read_text(), "config.yaml")
        run.config_path.write_text(yaml_text.dump({k: v for k, v in data.items() if k != "common_noise"}))
        return RunDirectory(run.root)

    def test_they_go_on_with_their_own_random_numbers(self, tmp_path):
        run = self.aged(created(tmp_path / "old", training=None, sampling__proposals=800))
        assert run.card().common_noise
        sample(run)
        sample(run, card=run.card().with_overrides(["sampling.proposals=1600"]))
        whole = created(tmp_path / "new", training=None, sampling__proposals=1600, common_noise=True)
        sample(whole)
        with SampleReader(run.root) as old, SampleReader(whole.root) as new:
            np.testing.assert_array_equal(old["log_weight"], new["log_weight"])

    def test_samples_of_other_random_numbers_are_not_continued(self, tmp_path):
        run = created(tmp_path / "run", training=None, sampling__proposals=800)
        sample(run)
        with pytest.raises(InputError, match="was drawn with common_noise = False, the run now has True"):
            sample(self.aged(copied(run, tmp_path / "copy")))

    def test_nor_is_training(self, tmp_path):
        run = created(tmp_path / "run")
        train(run)
        (tmp_path / "run" / "summary.json").write_text("{}")
        with pytest.raises(InputError, match="common_noise is True, but the checkpoint was trained with the other"):
            train(self.aged(run))
