"""Sampling through the Python interface: the same proposals whatever happens on the way."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.runs.small_run import Signaling, card, copied, created
from tests.runs.support import contents
from trivmap.actions import FreeScalar
from trivmap.bijections import AbstractBijection
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.runs import sampling
from trivmap.runs.progress import Interrupted
from trivmap.runs.train import train
from trivmap.store.samples import SampleReader

pytestmark = pytest.mark.usefixtures("optax_mixes_dtypes")


class TestSample:
    def test_summary(self, sampled):
        summary = sampled.summary()
        found = summary["sampling"]
        assert (found["kind"], found["chains"], found["proposals"]) == ("flow", 2, 2400)
        assert 0.9 < found["acceptance"]["value"] < 1
        assert abs(found["accepted_fraction"] - found["acceptance"]["value"]) < 0.05
        assert 0.9 < found["ess"] < 1
        assert 0.5 < found["tau_int"]["value"] < 0.7
        exact = FreeScalar(0.5, 1).log_z(Lattice((4,)))
        assert abs(summary["log_z"]["value"] - exact) < 4 * summary["log_z"]["error"] < 0.1

    def arrays(self, run):
        with SampleReader(run.root) as reader:
            return {
                name: np.stack([reader.read(name, chain, 0, 10**6) for chain in range(2)])
                for name in ("log_weight", "accepted", "fields", *reader.names)
            }

    def assert_same(self, run, other, count=1200):
        ours, theirs = self.arrays(run), self.arrays(other)
        for name, values in theirs.items():
            kept = -(-count // 3) if name == "fields" else count
            np.testing.assert_array_equal(ours[name][:, :kept], values[:, :kept])

    @pytest.mark.parametrize("at", [1, 2, 4, 5])
    def test_interrupted_it_goes_on_with_the_same_chains(self, trained, sampled, tmp_path, at):
        run = copied(trained, tmp_path / "run")
        with pytest.raises(Interrupted, match=rf"interrupted after {(at // 2) * 400} of 1200 proposals per chain"):
            sampling.sample(run, Signaling(at))
        summary = sampling.sample(run)
        self.assert_same(run, sampled)
        assert summary["log_z"] == sampled.summary()["log_z"]

    def test_a_signal_in_the_last_part_loses_nothing(self, trained, tmp_path):
        run = copied(trained, tmp_path / "run")
        with pytest.raises(Interrupted, match="interrupted after the last proposal"):
            sampling.sample(run, Signaling(at=6))
        assert run.summary()["sampling"]["proposals"] == 2400

    def test_part_and_batch_sizes_do_not_matter(self, trained, sampled, tmp_path):
        run = copied(trained, tmp_path / "run")
        run.write_card(card(sampling__part=77, sampling__batch=64))
        sampling.sample(run)
        ours, theirs = self.arrays(run), self.arrays(sampled)
        assert np.array_equal(ours["accepted"], theirs["accepted"])
        for name, values in theirs.items():
            np.testing.assert_allclose(ours[name], values, rtol=1e-4, atol=1e-5)

    def test_more_can_be_asked_for(self, sampled, tmp_path):
        run = copied(sampled, tmp_path / "run")
        more = run.card().with_overrides(["sampling.proposals=3000"])
        assert sampling.sample(run, card=more)["sampling"]["proposals"] == 3000
        self.assert_same(run, sampled)
        assert run.card() == more
        assert self.arrays(run)["fields"].shape == (2, 500, 4)

    @pytest.mark.parametrize("change", ["chains=4", "thin=2", "save_fields=false"])
    def test_other_chains_are_refused_and_the_card_stays(self, sampled, tmp_path, change):
        run = copied(sampled, tmp_path / "run")
        before = contents(run.root)
        with pytest.raises(InputError, match=rf"was drawn with {change.split('=')[0]} = "):
            sampling.sample(run, card=run.card().with_overrides([f"sampling.{change}"]))
        assert contents(run.root) == before | {".lock": contents(run.root)[".lock"]}

    def test_a_model_trained_on_is_another_one(self, sampled, tmp_path):
        run = copied(sampled, tmp_path / "run")
        run.write_card(card(training__steps=40))
        train(run)
        with pytest.raises(InputError, match="was drawn with model = "):
            sampling.sample(run)

    def test_an_untrained_run(self, tmp_path):
        with pytest.raises(InputError, match="has no trained model yet; train it with trivmap train --resume"):
            sampling.sample(created(tmp_path / "run"))

    def test_a_changed_card(self, trained, tmp_path):
        run = copied(trained, tmp_path / "run")
        run.write_card(card(action={"kind": "free", "m_sq": 0.7}))
        before = contents(run.root)
        for step in (sampling.sample, train):
            with pytest.raises(InputError, match=r"lattice, dtype, action (or|and) model"):
                step(run)
        assert contents(run.root) == before | {".lock": contents(run.root)[".lock"]}

    def test_weights_that_are_no_numbers_are_reported_as_such(self, tmp_path):
        nowhere = [{"kind": "tests.runs.test_sampling:Nowhere"}]
        run = created(tmp_path / "run", model__maps=nowhere, training=None)
        summary = sampling.sample(run)
        found = summary["sampling"]
        assert found["acceptance"] == {"value": None, "error": None}
        assert found["tau_int"] == {"value": None, "error": None}
        assert found["ess"] is None and found["accepted_fraction"] == 0.0
        assert summary["log_z"] is None
        assert "fewer than 100 effective samples" in summary["untrusted"]["log_z"]

    def test_log_z_from_few_effective_samples_is_not_quoted(self, tmp_path):
        """A base far too narrow: weights that are numbers and yet worth nothing."""
        run = created(tmp_path / "run", model__base={"kind": "free-field", "mass_squared": 300.0}, training=None)
        summary = sampling.sample(run)
        assert summary["sampling"]["ess"] * 2400 < 100
        assert summary["log_z"] is None and "log_z" in summary["untrusted"]


class Nowhere(AbstractBijection):
    """A map whose density is not a number anywhere."""

    lattice: Lattice

    def forward(self, x):
        return x, jnp.asarray(jnp.nan)

    def inverse(self, y):
        return y, jnp.asarray(jnp.nan)
