"""Numbers from log-weights against closed forms, their errors by pulls over replicas."""

import math
import warnings

import numpy as np
import pytest
from scipy.special import erfc

from trivmap.diagnostics import (
    acceptance,
    effective_sample_size,
    forward_effective_sample_size,
    log_z,
    tau_int_from_rejections,
)

REPLICAS, SIZE = 300, 2000
ESTIMATORS = {
    "acceptance": acceptance,
    "effective_sample_size": effective_sample_size,
    "forward_effective_sample_size": forward_effective_sample_size,
    "log_z": log_z,
}


def assert_pulls_are_standard_normal(estimates, exact):
    """Neither the values nor their errors are off by more than the replicas can tell."""
    values, errors = np.array(estimates).T
    pulls = (values - exact) / errors
    # Three standard deviations of the mean and of the variance of so many normal numbers, the latter heavier-tailed.
    assert abs(pulls.mean()) < 3.5 / math.sqrt(len(pulls))
    assert abs(pulls.std() - 1) < 4 / math.sqrt(2 * len(pulls))


def gaussian_log_weights(s, seed=0, replicas=REPLICAS, offset=0.0):
    """Normal with variance s^2 and mean weight e^offset."""
    rng = np.random.default_rng(seed)
    return offset + s * rng.normal(size=(replicas, SIZE)) - s * s / 2


@pytest.mark.parametrize("s", [0.2, 0.7, 1.0])
def test_acceptance_of_gaussian_log_weights(s):
    assert_pulls_are_standard_normal([acceptance(each) for each in gaussian_log_weights(s)], erfc(s / 2))


@pytest.mark.parametrize("s", [0.2, 0.5])
def test_effective_sample_size_of_gaussian_log_weights(s):
    estimates = [effective_sample_size(each) for each in gaussian_log_weights(s)]
    assert_pulls_are_standard_normal(estimates, math.exp(-s * s))


@pytest.mark.parametrize("s", [0.2, 0.7])
@pytest.mark.parametrize("offset", [0.0, -1e5, 1e5])
def test_log_z_of_gaussian_log_weights(s, offset):
    estimates = [log_z(each) for each in gaussian_log_weights(s, offset=offset)]
    assert_pulls_are_standard_normal(estimates, offset)


def test_forward_effective_sample_size_of_gaussian_log_weights():
    """Under the target the same log-weights are shifted by s^2."""
    s = 0.5
    estimates = [forward_effective_sample_size(each + s * s) for each in gaussian_log_weights(s, seed=1)]
    assert_pulls_are_standard_normal(estimates, math.exp(-s * s))


def test_forward_error_grows_with_autocorrelation():
    log_weights = gaussian_log_weights(0.5, replicas=1)[0]
    independent = forward_effective_sample_size(log_weights)
    correlated = forward_effective_sample_size(log_weights, tau_int=8.0)
    assert correlated.value == independent.value
    assert correlated.error == pytest.approx(4 * independent.error)


def normal(x, mean, width):
    return np.exp(-(((x - mean) / width) ** 2) / 2) / (width * math.sqrt(2 * math.pi))


class TestTwoPeaks:
    """p = half at -a and half at +a, of width 1."""

    @staticmethod
    def target(x, a):
        return (normal(x, -a, 1.0) + normal(x, a, 1.0)) / 2

    @staticmethod
    def draw(rng, a):
        return rng.choice([-a, a], size=SIZE) + rng.normal(size=SIZE)

    def log_weights(self, x, a, mean, width):
        return np.log(self.target(x, a) / normal(x, mean, width))

    def test_forward_and_reverse_agree_where_q_covers_p(self):
        a, width = 1.6, 1.4
        grid = np.linspace(-20, 20, 20_001)
        exact = 1 / (np.sum(self.target(grid, a) ** 2 / normal(grid, 0.0, width)) * (grid[1] - grid[0]))
        assert 0.5 < exact < 0.9
        rng = np.random.default_rng(5)
        reverse, forward = [], []
        for _ in range(REPLICAS):
            proposed, drawn = width * rng.normal(size=SIZE), self.draw(rng, a)
            reverse.append(effective_sample_size(self.log_weights(proposed, a, 0.0, width)))
            forward.append(forward_effective_sample_size(self.log_weights(drawn, a, 0.0, width)))
        assert_pulls_are_standard_normal(reverse, exact)
        assert_pulls_are_standard_normal(forward, exact)

    def test_only_the_forward_one_sees_a_missed_peak(self):
        rng, a = np.random.default_rng(6), 5.0
        proposed, drawn = a + rng.normal(size=SIZE), self.draw(rng, a)
        reverse = effective_sample_size(self.log_weights(proposed, a, a, 1.0))
        forward = forward_effective_sample_size(self.log_weights(drawn, a, a, 1.0))
        assert reverse.value > 0.99
        assert forward.value + 3 * forward.error < 1e-4


def test_two_weights_by_hand():
    logs = np.log([1.0, 3.0])
    assert acceptance(logs).value == pytest.approx(2 * 1.0 / (1 * 4.0))
    assert effective_sample_size(logs).value == pytest.approx(16 / (2 * 10))
    assert log_z(logs).value == pytest.approx(math.log(2.0))
    assert forward_effective_sample_size(logs).value == pytest.approx(1 / (2.0 * (1 + 1 / 3) / 2))


def test_acceptance_is_the_mean_over_all_pairs():
    rng = np.random.default_rng(2)
    logs = np.round(rng.normal(size=50), 1)  # with ties
    weights = np.exp(logs)
    pairs = np.minimum.outer(weights, weights)
    np.fill_diagonal(pairs, 0)
    assert acceptance(logs).value == pytest.approx(pairs.sum() / (49 * weights.sum()), rel=1e-13)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_equal_weights_are_exact(name):
    estimate = ESTIMATORS[name](np.full(100, -3.5))
    assert estimate == pytest.approx((-3.5 if name == "log_z" else 1.0, 0.0), abs=1e-14)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_unusable_weight_never_gives_a_number(name, bad):
    logs = np.zeros(100)
    logs[17] = bad
    assert np.isnan(ESTIMATORS[name](logs)).all()


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("logs", [[], [0.0], [-np.inf, -np.inf], np.full((4, 8), np.nan)])
def test_nothing_to_estimate_from(name, logs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(ESTIMATORS[name](logs)).all()


def test_impossible_proposals_have_weight_zero():
    logs = np.array([0.0, -np.inf, 0.0, -np.inf])
    assert effective_sample_size(logs).value == 0.5
    assert log_z(logs).value == pytest.approx(math.log(0.5))
    assert acceptance(logs).value == pytest.approx(1 / 3)
    # Of a configuration of the target it would say that q is infinite there.
    assert np.isnan(forward_effective_sample_size(logs)).all()


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("shift", [-1e5, 1e5])
def test_a_constant_in_the_action_changes_log_z_alone(name, shift):
    logs = gaussian_log_weights(0.7, replicas=1)[0]
    here, there = ESTIMATORS[name](logs), ESTIMATORS[name](logs + shift)
    assert there.value == pytest.approx(here.value + (shift if name == "log_z" else 0), rel=1e-9)
    assert there.error == pytest.approx(here.error, rel=1e-9)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_log_weights_far_apart_do_not_overflow(name):
    logs = np.linspace(-1e5, 1e5, 101)
    value, error = ESTIMATORS[name](logs)
    exact = {
        "acceptance": 0.0,
        "effective_sample_size": 1 / 101,
        "forward_effective_sample_size": 0.0,
        "log_z": 1e5 - math.log(101),
    }[name]
    assert value == pytest.approx(exact, rel=1e-12)
    # One weight is the whole sum: of averages over weights nothing is known then.
    assert not np.isnan(error) and np.isfinite(error) == (name not in ("effective_sample_size", "log_z"))


def test_the_layout_of_the_chains_does_not_matter():
    logs = gaussian_log_weights(0.7, replicas=4)
    assert acceptance(logs) == acceptance(logs.ravel())


class TestTauInt:
    """tau_int = 1/2 + sum_t P(t rejections in a row)."""

    # An independence chain on few states: proposal probabilities q, weights w.
    PROPOSAL = np.array([0.4, 0.3, 0.2, 0.1])
    WEIGHT = np.array([0.5, 1.0, 2.0, 5.0])

    @property
    def rejection(self):
        """Probability that a proposal is rejected in each state."""
        return 1 - np.minimum(1, self.WEIGHT / self.WEIGHT[:, None]) @ self.PROPOSAL

    @property
    def exact(self):
        """Sum over the stationary distribution q w of r + r^2 + ... in each state."""
        stationary = self.PROPOSAL * self.WEIGHT
        r = self.rejection
        return 0.5 + np.sum(stationary / stationary.sum() * r / (1 - r))

    def test_the_bound_is_that_of_the_transition_matrix(self):
        """1/2 + the trace-like sum above is tau_int of the stickiest observables: the largest over all of them."""
        stationary = self.PROPOSAL * self.WEIGHT / np.sum(self.PROPOSAL * self.WEIGHT)
        matrix = self.PROPOSAL * np.minimum(1, self.WEIGHT / self.WEIGHT[:, None])
        matrix += np.diag(1 - matrix.sum(axis=1))
        np.testing.assert_allclose(stationary @ matrix, stationary, rtol=1e-14)
        # Two configurations of one weight, told apart by an observable that averages to zero at every weight: only
        # a run of rejections keeps it, so rho(t) = P(t rejections in a row).
        doubled = np.kron(self.PROPOSAL, [0.5, 0.5]) * np.minimum(
            1, np.repeat(self.WEIGHT, 2) / np.repeat(self.WEIGHT, 2)[:, None]
        )
        doubled += np.diag(1 - doubled.sum(axis=1))
        sign = np.tile([1.0, -1.0], 4)
        p = np.repeat(stationary / 2, 2)
        correlation = [p @ (sign * (np.linalg.matrix_power(doubled, t) @ sign)) for t in range(400)]
        assert 0.5 + sum(correlation[1:]) == pytest.approx(self.exact, rel=1e-12)

    def chain(self, rng, chains, length):
        """Accept decisions after 200 steps of warm-up, shape (chains, length)."""
        total = length + 200
        proposed = rng.choice(4, size=(total, chains), p=self.PROPOSAL)
        uniform = rng.random((total, chains))
        state, decisions = proposed[0], []
        for each, u in zip(proposed, uniform, strict=True):
            accepted = u < self.WEIGHT[each] / self.WEIGHT[state]
            state = np.where(accepted, each, state)
            decisions.append(accepted)
        return np.array(decisions).T[:, 200:]

    @pytest.mark.parametrize("chains", [1, 4])
    def test_values_and_errors(self, chains):
        decisions = self.chain(np.random.default_rng(3), 240, 3000)
        groups = decisions.reshape(-1, chains, decisions.shape[1])
        estimates = [tau_int_from_rejections(each if chains > 1 else each[0]) for each in groups]
        values, errors = np.array(estimates).T
        pulls = (values - self.exact) / errors
        assert abs(pulls.mean()) < 4 / math.sqrt(len(pulls))
        # The jackknife over 64 stretches is itself uncertain by 10%.
        assert 0.8 < pulls.std() < 1.25
        assert abs(values.mean() / self.exact - 1) < 0.01

    def test_counted_by_brute_force(self):
        flags = np.random.default_rng(4).random(200) < 0.4
        flags[0] = True
        windows = [
            sum(not flags[end - t + 1 : end + 1].any() for end in range(t - 1, len(flags)))
            for t in range(1, len(flags))
        ]
        assert tau_int_from_rejections(flags).value == pytest.approx(0.5 + sum(windows) / len(flags), rel=1e-14)

    def test_every_proposal_accepted(self):
        assert tau_int_from_rejections(np.ones((3, 50), bool)) == (0.5, 0.0)

    @pytest.mark.parametrize("flags", [np.zeros((2, 50)), np.eye(2, 50)[:1] * 0, np.zeros((2, 0)), [True], [[1], [0]]])
    def test_a_chain_that_never_moves_has_no_tau_int(self, flags):
        assert np.isnan(tau_int_from_rejections(flags)).all()

    @pytest.mark.parametrize("length", [2, 3, 63, 65])
    def test_short_chains(self, length):
        """Alternating: every second step ends a run of one rejection."""
        flags = np.arange(length) % 2 == 0
        value, error = tau_int_from_rejections(flags)
        assert value == pytest.approx(0.5 + (length // 2) / length)
        assert np.isfinite(error)
