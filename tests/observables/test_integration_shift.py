"""The shift of log Z by finer integration: its value, and its error over many seeds."""

import numpy as np
import pytest

from trivmap.diagnostics.integration_error import Level
from trivmap.observables.integration_shift import REDUCTION, Pair, log_z_shift, pairs

SPREAD, DELTA = 0.4, 0.03


def levels(rng, count=256, halvings=1):
    """Log-normal weights at 4, 8, ... steps: log w(n) = log w + (DELTA + SPREAD' x) (4 / n)^3, x the noise of log w."""
    noise = rng.normal(size=(2, count))
    exact = SPREAD * noise[0] - SPREAD**2 / 2
    found = []
    for number in range(halvings + 1):
        moved = (DELTA + 0.05 * noise[0] + 0.02 * noise[1]) / 8**number
        found.append(Level(4 * 2**number, exact + moved, {}))
    return found


def expected(number):
    """log E w(n) after so many halvings; the noise of log w is normal."""
    part = 1 / 8**number
    return DELTA * part + ((SPREAD + 0.05 * part) ** 2 - SPREAD**2 + (0.02 * part) ** 2) / 2


@pytest.mark.parametrize("halvings", [1, 2])
def test_value_and_error(halvings):
    found = [log_z_shift(pairs(levels(np.random.default_rng(seed), halvings=halvings))) for seed in range(400)]
    exact = expected(halvings) - expected(0)
    values, errors = np.array(found).T
    # The error also covers what is left: the part of the last change that twice the steps still make.
    last = (expected(halvings) - expected(halvings - 1)) / REDUCTION
    assert abs(values.mean() - exact) < 4 * values.std() / np.sqrt(400)
    statistical = np.sqrt(np.maximum(errors**2 - last**2, 0))
    assert np.median(statistical) == pytest.approx(values.std(), rel=0.1)
    assert np.all(errors > 0)


def test_nothing_to_correct():
    (first, _) = levels(np.random.default_rng(1))
    assert log_z_shift([Pair(first, first._replace(steps=8))]) == (0.0, 0.0)
    assert log_z_shift([]) == (0.0, 0.0)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_weights_that_are_no_numbers_are_left_out(bad):
    first, second = levels(np.random.default_rng(2))
    spoilt = [level._replace(log_weight=np.concatenate([level.log_weight, [bad]])) for level in (first, second)]
    whole = [level._replace(log_weight=np.concatenate([level.log_weight, [-np.inf]])) for level in (first, second)]
    assert log_z_shift(pairs(spoilt)) == log_z_shift(pairs(whole))
    none = first._replace(log_weight=np.full(256, bad)), second._replace(log_weight=np.full(256, bad))
    for found in ((none[0], second), (first, none[1]), none):
        assert np.isnan(log_z_shift(pairs(found))).all()


def test_few_effective_samples_know_no_shift():
    first, second = levels(np.random.default_rng(3), count=99)
    assert np.isnan(log_z_shift(pairs([first, second]))).all()
