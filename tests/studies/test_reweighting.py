"""Reweighting against closed forms: free fields, whose energies and means are known at every coupling."""

import numpy as np
import pytest

from trivmap.studies.reweighting import Ensemble, joined

# S = -beta E + x^2 with E = (x^2 - y^2 + 2 z) / 2 of Gaussian x, y, z: precisions 2 - beta, 1 + beta, 1.
BETAS = np.array([0.2, 0.6, 1.0])


def ensembles(rng, counts=(3000, 5000, 2000)):
    made = []
    for beta, count in zip(BETAS, counts, strict=True):
        x = rng.normal(size=(2, count)) / np.sqrt(2 - beta)
        y = rng.normal(size=(2, count)) / np.sqrt(1 + beta)
        z = rng.normal(size=(2, count)) + beta
        made.append(Ensemble(beta, (x**2 - y**2) / 2 + z, {"x2": x**2, "z": z}))
    return made


def log_z(beta):
    return -0.5 * np.log(2 - beta) - 0.5 * np.log(1 + beta) + beta**2 / 2


class TestMultiHistogram:
    def test_means_and_errors_at_other_couplings(self):
        """Over 300 sets the mean is the exact one, and their spread is the error that the jackknife gives to one."""
        betas = (0.1, 0.6, 1.1)
        exact = np.array([[1 / (2 - beta), beta] for beta in betas])

        def means(histogram):
            return [list(histogram.means(beta).values()) for beta in betas]

        found = [means(joined(ensembles(np.random.default_rng(seed)), 1)[0]) for seed in range(300)]
        spread = np.std(found, axis=0)
        assert np.max(np.abs(np.mean(found, axis=0) - exact) / spread) < 3.5 / np.sqrt(300)

        errors = []
        for seed in range(300, 312):
            samples = [means(each) for each in joined(ensembles(np.random.default_rng(seed)), 10)[1]]
            assert len(samples) == 20
            errors.append(np.sqrt(19 * np.var(samples, axis=0)))
        np.testing.assert_allclose(np.mean(errors, axis=0), spread, rtol=0.25)

    def test_free_energies_are_those_of_the_gaussians(self):
        whole, jackknife = joined(ensembles(np.random.default_rng(0), (30_000, 30_000, 30_000)), 10)
        # Energies are counted from their common mean, which shifts f_k by beta_k times it.
        energy = np.concatenate([each.energy.ravel() for each in ensembles(np.random.default_rng(0), (30_000,) * 3)])
        expected = -(log_z(BETAS) - BETAS * energy.mean())
        error = np.std([each.free for each in jackknife], axis=0) * np.sqrt(19)
        assert np.all(np.abs(whole.free - (expected - expected[0]))[1:] < 4 * error[1:])

    def test_one_ensemble_at_its_own_coupling_is_the_plain_mean(self):
        one = ensembles(np.random.default_rng(0))[:1]
        whole, jackknife = joined(one, 10)
        assert whole.means(0.2)["z"] == pytest.approx(one[0].values["z"].mean(), abs=1e-12)
        assert whole.effective_share(0.2) == pytest.approx(1.0)
        assert whole.effective_share(1.5) < 0.2
        left = np.concatenate([one[0].values["z"][0, 300:], one[0].values["z"][1]])
        assert jackknife[0].means(0.2)["z"] == pytest.approx(left.mean(), abs=1e-12)

    def test_bins_change_nothing_that_can_be_seen(self):
        """Against the weights of every single sample."""
        made = ensembles(np.random.default_rng(0))
        whole, _ = joined(made, 10)
        energy = np.concatenate([each.energy.ravel() for each in made])
        z = np.concatenate([each.values["z"].ravel() for each in made])
        counts = np.array([each.energy.size for each in made])
        centered = energy - energy.mean()
        for beta in (0.1, 0.8, 1.2):
            mixture = np.exp(np.multiply.outer(centered, BETAS) + whole.free) @ counts
            weights = np.exp(beta * centered) / mixture
            assert whole.means(beta)["z"] == pytest.approx(weights @ z / weights.sum(), abs=1e-5)
